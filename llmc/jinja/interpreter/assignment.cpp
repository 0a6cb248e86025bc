// Assignments, and how a macro gets its arguments.
#include "llmc/jinja/interpreter/callables.h"
#include "llmc/jinja/operators/operators.h"
#include "llmc/jinja/values/iterate.h"

namespace llmc::jinja {

using syntax::Expression;

void Interpreter::assign(const Expression& target, const Value& value) {
    switch (target.kind) {
        case Expression::Kind::name:
            slot(static_cast<const syntax::Name&>(target).variable) = value;
            return;
        case Expression::Kind::attribute_of_name:
            return assign_attribute(static_cast<const syntax::AttributeOfName&>(target), value);
        default:
            return unpack(static_cast<const syntax::Sequence&>(target), value);
    }
}

void Interpreter::assign_attribute(const syntax::AttributeOfName& target, const Value& value) {
    const Value& names = slot(target.variable);
    runtime_.at(target.position);
    if (!names.is(Kind::name_space)) refuse(runtime_, "only a namespace has attributes to assign to");
    names.as_name_space().set(runtime_, target.attribute, value);
}

void Interpreter::unpack(const syntax::Sequence& target, const Value& value) {
    const std::vector<Value> items = items_of(runtime_, value);
    if (items.size() != target.items.size())
        refuse(runtime_, "there are ", items.size(), " values for ", target.items.size(), " names");
    for (size_t i = 0; i < items.size(); ++i) assign(*target.items[i], items[i]);
}

// Before the value is evaluated, as jinja2 does.
void Interpreter::check_namespaces(const Expression& target) {
    if (target.kind == Expression::Kind::attribute_of_name) {
        const auto& node = static_cast<const syntax::AttributeOfName&>(target);
        runtime_.at(node.position);
        if (!slot(node.variable).is(Kind::name_space)) refuse(runtime_, "only a namespace has attributes to assign to");
    } else if (target.kind == Expression::Kind::tuple) {
        for (const Expression* item : static_cast<const syntax::Sequence&>(target).items) check_namespaces(*item);
    }
}

Value Interpreter::macro(const syntax::MacroCode& code) {
    return Value::object(runtime_.make<MacroValue>(*this, code, activation_));
}

Value Interpreter::call_macro(const syntax::MacroCode& code, Activation* around, const Arguments& arguments) {
    const Runtime::Nesting nesting(runtime_);
    Activation* before = std::exchange(activation_, activate(code.function, around));
    bind_parameters(code, arguments);
    const size_t begin = output_.begin_capture();
    enter(code.scope, *activation_);
    const size_t first_default = code.parameters.size() - code.defaults.size();
    for (size_t i = 0; i < code.parameters.size(); ++i) {
        Value& parameter = activation_->slots[code.parameter_slots[i]];
        if (!parameter.is(Kind::missing)) continue;
        if (i >= first_default)
            parameter = evaluate(*code.defaults[i - first_default]);
        else
            parameter = Value::undefined(Undefinedness::variable, code.parameters[i]->name);
    }
    execute(code.body);
    activation_ = before;
    return Value::string(output_.end_capture(begin));
}

void Interpreter::bind_parameters(const syntax::MacroCode& code, const Arguments& arguments) {
    const auto& slots = activation_->slots;
    const size_t count = code.parameters.size(), passed = std::min(count, arguments.positional.size());
    for (size_t i = 0; i < passed; ++i) slots[code.parameter_slots[i]] = arguments.positional[i];
    auto* rest = runtime_.make<Dict>();
    bool explicit_caller = false;
    for (size_t i = 0; i < count; ++i) explicit_caller = explicit_caller || code.parameters[i]->name == "caller";
    for (const Keyword& keyword : arguments.keywords) {
        size_t i = passed;
        runtime_.steps(count);
        while (i < count && code.parameters[i]->name != keyword.name) ++i;
        if (i < count)
            slots[code.parameter_slots[i]] = keyword.value;
        else if (keyword.name == "caller" && code.caller != code.kNone && !explicit_caller)
            slots[code.caller] = keyword.value;
        else if (code.keywords != code.kNone)
            rest->set(runtime_, Value::string(keyword.name), keyword.value);
        else
            refuse(runtime_, "the macro ", code.name, " takes no argument named ", keyword.name);
    }
    if (code.caller != code.kNone && (slots[code.caller].is(Kind::missing) || slots[code.caller].is(Kind::none)))
        slots[code.caller] = Value::undefined(Undefinedness::hint, "no caller defined");
    if (code.keywords != code.kNone) slots[code.keywords] = Value::dict(rest);
    const auto variadic = arguments.positional.subspan(passed);
    if (code.variadic != code.kNone)
        slots[code.variadic] = runtime_.tuple(variadic);
    else if (!variadic.empty())
        refuse(runtime_, "the macro ", code.name, " takes ", count, " arguments, not ", arguments.positional.size());
}

}  // namespace llmc::jinja
