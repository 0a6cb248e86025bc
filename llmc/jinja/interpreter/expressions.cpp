#include <algorithm>

#include "llmc/jinja/interpreter/interpreter.h"
#include "llmc/jinja/methods/methods.h"
#include "llmc/jinja/operators/compare.h"
#include "llmc/jinja/operators/operators.h"
#include "llmc/jinja/operators/print.h"
#include "llmc/jinja/values/iterate.h"

namespace llmc::jinja {

using syntax::Expression;

Value Interpreter::evaluate(const Expression& expression) {
    runtime_.step();
    const Runtime::Nesting nesting(runtime_);
    switch (expression.kind) {
        case Expression::Kind::constant:
            return static_cast<const syntax::Constant&>(expression).value;
        case Expression::Kind::name:
            return name(static_cast<const syntax::Name&>(expression));
        case Expression::Kind::tuple:
        case Expression::Kind::list:
            return sequence(static_cast<const syntax::Sequence&>(expression));
        case Expression::Kind::dict:
            return dict(static_cast<const syntax::DictDisplay&>(expression));
        case Expression::Kind::conditional:
            return conditional(static_cast<const syntax::Conditional&>(expression));
        case Expression::Kind::both:
        case Expression::Kind::either:
            return logical(static_cast<const syntax::Logical&>(expression));
        case Expression::Kind::negation:
        case Expression::Kind::sign:
            return unary(static_cast<const syntax::Unary&>(expression));
        case Expression::Kind::arithmetic: {
            const auto& node = static_cast<const syntax::Calculation&>(expression);
            const Value left = evaluate(*node.left), right = evaluate(*node.right);
            runtime_.at(node.position);
            return calculate(runtime_, node.operation, left, right);
        }
        case Expression::Kind::concatenation:
            return concatenation(static_cast<const syntax::Concatenation&>(expression));
        case Expression::Kind::comparison:
            return Value::boolean(comparison(static_cast<const syntax::Comparison&>(expression)));
        case Expression::Kind::attribute: {
            const auto& node = static_cast<const syntax::Attribute&>(expression);
            const Value object = evaluate(*node.object);
            runtime_.at(node.position);
            return get_attribute(runtime_, object, node.name);
        }
        case Expression::Kind::item: {
            const auto& node = static_cast<const syntax::Item&>(expression);
            const Value object = evaluate(*node.object), index = evaluate(*node.index);
            runtime_.at(node.position);
            return get_item(runtime_, object, index);
        }
        case Expression::Kind::slice:
            return slice(static_cast<const syntax::Slice&>(expression));
        case Expression::Kind::call:
            return call(static_cast<const syntax::Call&>(expression));
        case Expression::Kind::filter:
            return filter(static_cast<const syntax::FilterUse&>(expression));
        case Expression::Kind::test:
            return Value::boolean(test(static_cast<const syntax::TestUse&>(expression)));
        case Expression::Kind::attribute_of_name:
            break;  // only assigned to
    }
    return {};
}

Value Interpreter::evaluate_or_none(const Expression* expression) {
    return expression ? evaluate(*expression) : Value::none();
}

Value Interpreter::name(const syntax::Name& node) {
    const Value& value = slot(node.variable);
    return value.is(Kind::missing) ? Value::undefined(Undefinedness::variable, node.name) : value;
}

Value Interpreter::sequence(const syntax::Sequence& node) {
    auto* items = runtime_.items(node.items.size());
    for (size_t i = 0; i < node.items.size(); ++i) new (&items[i]) Value(evaluate(*node.items[i]));
    const std::span<const Value> all(items, node.items.size());
    return node.kind == Expression::Kind::list ? Value::list(all) : Value::tuple(all);
}

Value Interpreter::dict(const syntax::DictDisplay& node) {
    auto* dict = runtime_.make<Dict>();
    for (const auto& pair : node.pairs) {
        const Value key = evaluate(*pair.key), value = evaluate(*pair.value);
        runtime_.at(pair.key->position);
        dict->set(runtime_, key, value);
    }
    return Value::dict(dict);
}

Value Interpreter::conditional(const syntax::Conditional& node) {
    if (is_true(evaluate(*node.condition))) return evaluate(*node.yes);
    if (node.no) return evaluate(*node.no);
    return Value::undefined(Undefinedness::hint, "the condition is false, and there is no else");
}

Value Interpreter::logical(const syntax::Logical& node) {
    const Value left = evaluate(*node.left);
    const bool decided = is_true(left) == (node.kind == Expression::Kind::either);
    return decided ? left : evaluate(*node.right);
}

Value Interpreter::unary(const syntax::Unary& node) {
    const Value operand = evaluate(*node.operand);
    if (node.kind == Expression::Kind::negation) return Value::boolean(!is_true(operand));
    runtime_.at(node.position);
    return node.minus ? negate(runtime_, operand) : plus(runtime_, operand);
}

Value Interpreter::concatenation(const syntax::Concatenation& node) {
    std::vector<Value> parts;
    parts.reserve(node.parts.size());
    for (const Expression* part : node.parts) parts.push_back(evaluate(*part));
    runtime_.at(node.position);
    std::string_view joined;
    for (const Value& part : parts) {
        if (part.is_string()) {
            joined = runtime_.join(joined, part.as_text());
        } else {
            const std::string text = to_string(runtime_, part);
            joined = joined.empty() ? runtime_.keep(text) : runtime_.join(joined, text);
        }
    }
    return Value::string(joined);
}

bool Interpreter::comparison(const syntax::Comparison& node) {
    Value left = evaluate(*node.first);
    for (const auto& link : node.links) {
        const Value right = evaluate(*link.operand);
        runtime_.at(node.position);
        if (!compare(runtime_, link.relation, left, right)) return false;
        left = right;
    }
    return true;
}

Value Interpreter::slice(const syntax::Slice& node) {
    const Value object = evaluate(*node.object);
    const Value start = evaluate_or_none(node.start), stop = evaluate_or_none(node.stop);
    const Value step = evaluate_or_none(node.step);
    runtime_.at(node.position);
    return get_slice(runtime_, object, start, stop, step);
}

Interpreter::Evaluated Interpreter::arguments(const syntax::CallArguments& given) {
    Evaluated evaluated;
    evaluated.positional.reserve(given.positional.size());
    for (const Expression* argument : given.positional) evaluated.positional.push_back(evaluate(*argument));
    if (given.spread) {
        const Value spread = evaluate(*given.spread);
        runtime_.at(given.spread->position);
        const std::vector<Value> items = items_of(runtime_, spread);
        evaluated.positional.insert(evaluated.positional.end(), items.begin(), items.end());
    }
    for (const auto& named : given.named) evaluated.keywords.push_back({named.name, evaluate(*named.value)});
    if (given.spread_named) {
        const Value spread = evaluate(*given.spread_named);
        runtime_.at(given.spread_named->position);
        spread_keywords(spread, evaluated.keywords);
    }
    return evaluated;
}

void Interpreter::spread_keywords(const Value& value, std::vector<Keyword>& keywords) {
    if (!value.is(Kind::dict)) refuse(runtime_, "** needs a dict, not a ", type_name(value));
    const size_t before = keywords.size();
    for (const Dict::Entry& entry : value.as_dict().entries()) {
        runtime_.steps(before + 1);
        if (!entry.key.is_string()) refuse(runtime_, "** needs a dict whose keys are strings");
        const auto same = [&](const Keyword& keyword) { return keyword.name == entry.key.as_text(); };
        if (std::any_of(keywords.begin(), keywords.begin() + static_cast<std::ptrdiff_t>(before), same))
            refuse(runtime_, entry.key.as_text(), " is passed twice");
        keywords.push_back({entry.key.as_text(), entry.value});
    }
}

Value Interpreter::call(const syntax::Call& node, const Value* caller) {
    // A method of a value is called without making a function of both first.
    const Method* method = nullptr;
    Value callee;
    if (node.callee->kind == Expression::Kind::attribute) {
        const auto& attribute = static_cast<const syntax::Attribute&>(*node.callee);
        callee = evaluate(*attribute.object);
        if (callee.is_string() || callee.is_sequence() || callee.is(Kind::dict))
            method = find_method(callee, attribute.name);
        runtime_.at(attribute.position);
        if (!method) callee = get_attribute(runtime_, callee, attribute.name);
    } else {
        callee = evaluate(*node.callee);
    }
    Evaluated evaluated = arguments(node.arguments);
    if (caller) evaluated.keywords.push_back({"caller", *caller});
    runtime_.at(node.callee->position);
    return method ? call_method(runtime_, *method, callee, evaluated.arguments())
                  : call_value(callee, evaluated.arguments());
}

Value Interpreter::call_value(const Value& callee, const Arguments& arguments) {
    if (callee.is(Kind::undefined)) raise_undefined(runtime_, callee);
    if (!callee.is(Kind::object) || !callee.as_object().callable())
        refuse(runtime_, "a ", type_name(callee), " cannot be called");
    return callee.as_object().call(runtime_, arguments);
}

Value Interpreter::filter(const syntax::FilterUse& node, const Value* content) {
    // The innermost filter of a block works on what the block holds.
    Value operand;
    if (!node.operand)
        operand = *content;
    else if (content)
        operand = filter(static_cast<const syntax::FilterUse&>(*node.operand), content);
    else
        operand = evaluate(*node.operand);
    const Evaluated evaluated = arguments(node.arguments);
    runtime_.at(node.position);
    if (!node.filter) refuse(runtime_, "there is no filter '", node.name, "'");
    return apply_filter(runtime_, *node.filter, operand, evaluated.arguments());
}

bool Interpreter::test(const syntax::TestUse& node) {
    const Value operand = evaluate(*node.operand);
    const Evaluated evaluated = arguments(node.arguments);
    runtime_.at(node.position);
    if (!node.test) refuse(runtime_, "there is no test '", node.name, "'");
    return holds(runtime_, *node.test, operand, evaluated.arguments());
}

}  // namespace llmc::jinja
