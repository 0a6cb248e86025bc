#include <algorithm>
#include <memory>

#include "llmc/jinja/interpreter/callables.h"
#include "llmc/jinja/library/globals.h"
#include "llmc/jinja/operators/print.h"
#include "llmc/jinja/text/text.h"
#include "llmc/jinja/values/iterate.h"

namespace llmc::jinja {

using syntax::Statement;

std::string_view Output::end_capture(size_t begin) {
    const std::string_view captured = runtime_.keep(std::string_view(text_).substr(begin));
    text_.resize(begin);
    --captures_;
    return captured;
}

void Output::too_long() const {
    refuse(runtime_, "the template writes more than ", runtime_.options().max_output_bytes >> 20,
           " MiB for this conversation");
}

Rendering Interpreter::run() {
    activation_ = activate(program_.function, nullptr);
    enter(program_.scope, *activation_);
    execute(program_.body);
    Rendering rendering{output_.take(), {}};
    const std::string_view text = rendering.text;
    for (const Generated& part : generation_) {
        const size_t begin = std::min(part.begin, text.size());
        rendering.generation.push_back({begin, begin + text::byte_of(text.substr(begin), part.characters)});
    }
    return rendering;
}

Activation* Interpreter::activate(const syntax::Function& function, Activation* outer) {
    auto* slots = runtime_.array<Value>(function.slots);
    std::uninitialized_default_construct(slots, slots + function.slots);
    return runtime_.make<Activation>(Activation{outer, {slots, function.slots}});
}

void Interpreter::enter(const syntax::Scope& scope, Activation& activation) {
    runtime_.steps(scope.loads.size());
    for (const syntax::Load& load : scope.loads) {
        Value& slot = activation.slots[load.slot];
        switch (load.from) {
            case syntax::Load::From::context:
                slot = look_up(load.name);
                break;
            case syntax::Load::From::nothing:
                slot = {};
                break;
            case syntax::Load::From::variable: {
                const Activation* source = &activation;
                for (uint32_t i = 0; i < load.source.hops; ++i) source = source->outer;
                slot = source->slots[load.source.slot];
            }
        }
    }
}

void Interpreter::leave(const syntax::Scope& scope) {
    runtime_.steps(scope.slots.size());
    for (const uint32_t slot : scope.slots) activation_->slots[slot] = {};
}

Value Interpreter::look_up(std::string_view name) {
    if (const Value* value = variables_.find(runtime_, name)) return *value;
    Value found;
    find_global(runtime_, name, found);
    return found;
}

Interpreter::Flow Interpreter::execute(const syntax::Body& body) {
    for (const Statement* statement : body) {
        const Flow flow = execute(*statement);
        if (flow != Flow::next) return flow;
    }
    return Flow::next;
}

Interpreter::Flow Interpreter::execute(const Statement& statement) {
    runtime_.step();
    const Runtime::Nesting nesting(runtime_);
    switch (statement.kind) {
        case Statement::Kind::text:
            output_.write(static_cast<const syntax::Text&>(statement).text);
            break;
        case Statement::Kind::print:
            print(evaluate(*static_cast<const syntax::Print&>(statement).expression));
            break;
        case Statement::Kind::branch:
            return branch(static_cast<const syntax::Branch&>(statement));
        case Statement::Kind::loop:
            return loop(static_cast<const syntax::Loop&>(statement));
        case Statement::Kind::set:
            set(static_cast<const syntax::Set&>(statement));
            break;
        case Statement::Kind::set_block:
            return set_block(static_cast<const syntax::SetBlock&>(statement));
        case Statement::Kind::macro: {
            const auto& node = static_cast<const syntax::Macro&>(statement);
            slot(node.target->variable) = macro(node.code);
            break;
        }
        case Statement::Kind::call_block:
            call_block(static_cast<const syntax::CallBlock&>(statement));
            break;
        case Statement::Kind::filter_block:
            return filter_block(static_cast<const syntax::FilterBlock&>(statement));
        case Statement::Kind::with:
            return with(static_cast<const syntax::With&>(statement));
        case Statement::Kind::generation:
            generation(static_cast<const syntax::Generation&>(statement));
            break;
        case Statement::Kind::break_loop:
            return Flow::break_loop;
        case Statement::Kind::continue_loop:
            return Flow::continue_loop;
        case Statement::Kind::refused:
            runtime_.at(statement.position);
            refuse(runtime_, "'", static_cast<const syntax::Refused&>(statement).tag,
                   "' asks for another template, and a chat template has none");
    }
    return Flow::next;
}

void Interpreter::print(const Value& value) {
    if (value.is_string()) return output_.write(value.as_text());
    if (!value.is(Kind::undefined)) output_.write(to_string(runtime_, value));
}

// What a block of a filter or call writes is not printed first: it has to be a str.
void Interpreter::write(const Value& value) {
    if (!value.is_string()) refuse(runtime_, "the block should become a str, not a ", type_name(value));
    output_.write(value.as_text());
}

Interpreter::Flow Interpreter::branch(const syntax::Branch& node) {
    for (const auto& one : node.cases)
        if (is_true(evaluate(*one.condition))) return execute(one.body);
    return execute(node.otherwise);
}

Interpreter::Flow Interpreter::loop(const syntax::Loop& node) {
    const Value iterable = evaluate(*node.iterable);
    runtime_.at(node.iterable->position);
    if (!node.recursive) return loop_over(node, iterable, 0);
    print(recurse(node, activation_, iterable, 0));
    return Flow::next;
}

Value Interpreter::recurse(const syntax::Loop& node, Activation* around, const Value& iterable, int depth) {
    const Runtime::Nesting nesting(runtime_);
    Activation* before = std::exchange(activation_, activate(node.function, around));
    const size_t begin = output_.begin_capture();
    loop_over(node, iterable, depth);
    activation_ = before;
    return Value::string(output_.end_capture(begin));
}

// In the activation where the loop's variables are.
Interpreter::Flow Interpreter::loop_over(const syntax::Loop& node, const Value& iterable, int depth) {
    Iterator* items = &iterate(runtime_, iterable);
    Activation* around = node.recursive ? activation_->outer : activation_;
    if (node.condition) items = runtime_.make<FilteredItems>(*this, node, around, *items);
    LoopValue* counter = nullptr;
    if (node.extended)
        counter = runtime_.make<LoopValue>(*this, node, around, *items, node.condition ? Value() : iterable, depth);
    bool unfinished = true;  // no pass has reached its end, which is what an else asks for
    for (Value item; counter ? counter->advance(item) : items->next(runtime_, item); runtime_.step()) {
        runtime_.at(node.target->position);
        assign(*node.target, item);
        if (counter) activation_->slots[node.loop_slot] = Value::object(counter);
        enter(node.body_scope, *activation_);
        const Flow flow = execute(node.body);
        if (flow == Flow::break_loop) break;
        if (flow == Flow::next) unfinished = false;
    }
    leave(node.body_scope);
    if (!unfinished || node.otherwise.empty()) return Flow::next;
    enter(node.otherwise_scope, *activation_);
    const Flow flow = execute(node.otherwise);
    leave(node.otherwise_scope);
    return flow;
}

bool Interpreter::passes(const syntax::Loop& node, Activation& activation, Value& item) {
    Activation* before = std::exchange(activation_, &activation);
    assign(*node.condition_target, item);
    const bool passes = is_true(evaluate(*node.condition));
    if (passes && node.condition_target->kind == syntax::Expression::Kind::tuple)
        item = evaluate(*node.condition_target);
    activation_ = before;
    return passes;
}

Interpreter::Flow Interpreter::with(const syntax::With& node) {
    enter(node.scope, *activation_);
    for (size_t i = 0; i < node.targets.size(); ++i) assign(*node.targets[i], evaluate(*node.values[i]));
    const Flow flow = execute(node.body);
    leave(node.scope);
    return flow;
}

void Interpreter::set(const syntax::Set& node) {
    check_namespaces(*node.target);
    const Value value = evaluate(*node.value);
    runtime_.at(node.position);
    assign(*node.target, value);
}

Interpreter::Flow Interpreter::capture(const syntax::Body& body, std::string_view& text) {
    const size_t begin = output_.begin_capture();
    const Flow flow = execute(body);
    text = output_.end_capture(begin);
    return flow;
}

Interpreter::Flow Interpreter::set_block(const syntax::SetBlock& node) {
    enter(node.scope, *activation_);
    std::string_view text;
    const Flow flow = capture(node.body, text);
    if (flow != Flow::next) return flow;
    Value value = Value::string(text);
    if (node.filter) value = filter(static_cast<const syntax::FilterUse&>(*node.filter), &value);
    runtime_.at(node.position);
    assign(*node.target, value);
    leave(node.scope);
    return Flow::next;
}

Interpreter::Flow Interpreter::filter_block(const syntax::FilterBlock& node) {
    enter(node.scope, *activation_);
    std::string_view text;
    const Flow flow = capture(node.body, text);
    if (flow != Flow::next) return flow;
    const Value value = Value::string(text);
    write(filter(static_cast<const syntax::FilterUse&>(*node.filter), &value));
    leave(node.scope);
    return Flow::next;
}

void Interpreter::call_block(const syntax::CallBlock& node) {
    const Value caller = macro(node.code);
    write(call(*node.call, &caller));
}

void Interpreter::generation(const syntax::Generation& node) {
    const std::string_view text = call_macro(node.code, activation_, {}).as_text();
    generation_.push_back({output_.finished(), text::length(text)});
    output_.write(text);
}

}  // namespace llmc::jinja
