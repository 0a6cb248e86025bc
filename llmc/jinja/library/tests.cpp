#include "llmc/jinja/library/tests.h"

#include <array>

#include "llmc/jinja/library/arguments.h"
#include "llmc/jinja/operators/compare.h"
#include "llmc/jinja/operators/operators.h"
#include "llmc/jinja/text/letters.h"
#include "llmc/jinja/values/iterate.h"

namespace llmc::jinja {
namespace {

// A test of the value alone.
template <bool (*holds)(const Value&)>
bool plain(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "the test", arguments, {});
    return holds(value);
}

bool is_defined(const Value& value) {
    return !value.is(Kind::undefined);
}
bool is_undefined(const Value& value) {
    return value.is(Kind::undefined);
}
bool is_none(const Value& value) {
    return value.is(Kind::none);
}
bool is_boolean(const Value& value) {
    return value.is(Kind::boolean);
}
bool is_exactly_true(const Value& value) {
    return is_boolean(value) && value.as_boolean();
}
bool is_exactly_false(const Value& value) {
    return is_boolean(value) && !value.as_boolean();
}
bool is_integer(const Value& value) {
    return value.is(Kind::integer);
}
bool is_float(const Value& value) {
    return value.is(Kind::floating);
}
bool is_number(const Value& value) {
    return value.is_number();
}
bool is_string(const Value& value) {
    return value.is_string();
}
bool is_mapping(const Value& value) {
    return value.is(Kind::dict);
}
bool is_escaped(const Value& value) {
    return value.is_string() && value.is_safe();
}
bool can_be_walked(const Value& value) {
    return is_iterable(value);
}

// What has a length and takes an index: also a dict, and an undefined value.
bool is_sequence(const Value& value) {
    return value.is_sequence() || value.is_string() || value.is(Kind::dict) || value.is(Kind::range) ||
           value.is(Kind::undefined);
}

// An undefined value has a way to be called: one that raises an error.
bool is_callable(const Value& value) {
    return value.is(Kind::undefined) || (value.is(Kind::object) && value.as_object().callable());
}

template <bool (*test)(std::string_view)>
bool in_case(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "the test", arguments, {});
    const std::string_view text = string_of(runtime, value);
    runtime.work(8, text.size());
    return test(text);
}

bool has_rest(Runtime& runtime, const Value& value, const Value& divisor, Integer rest) {
    return equal(runtime, calculate(runtime, Arithmetic::modulo, value, divisor), Value::integer(rest));
}

bool is_odd(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "odd", arguments, {});
    return has_rest(runtime, value, Value::integer(2), 1);
}

bool is_even(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "even", arguments, {});
    return has_rest(runtime, value, Value::integer(2), 0);
}

bool is_divisible(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "divisibleby", arguments, {"num"}, 1);
    return has_rest(runtime, value, parameters[0], 0);
}

bool is_same(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "sameas", arguments, {"other"}, 1);
    return same(value, parameters[0]);
}

template <Relation relation>
bool compared(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "the comparison", arguments, {"/other"}, 1);
    return compare(runtime, relation, value, parameters[0]);
}

bool is_in(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "in", arguments, {"seq"}, 1);
    return contains(runtime, parameters[0], value);
}

constexpr std::array<Test, 39> kTests{{
    {"!=", compared<Relation::not_equal>},
    {"<", compared<Relation::less>},
    {"<=", compared<Relation::less_equal>},
    {"==", compared<Relation::equal>},
    {">", compared<Relation::greater>},
    {">=", compared<Relation::greater_equal>},
    {"boolean", plain<is_boolean>},
    {"callable", plain<is_callable>},
    {"defined", plain<is_defined>},
    {"divisibleby", is_divisible},
    {"eq", compared<Relation::equal>},
    {"equalto", compared<Relation::equal>},
    {"escaped", plain<is_escaped>},
    {"even", is_even},
    {"false", plain<is_exactly_false>},
    {"filter", nullptr},
    {"float", plain<is_float>},
    {"ge", compared<Relation::greater_equal>},
    {"greaterthan", compared<Relation::greater>},
    {"gt", compared<Relation::greater>},
    {"in", is_in},
    {"integer", plain<is_integer>},
    {"iterable", plain<can_be_walked>},
    {"le", compared<Relation::less_equal>},
    {"lessthan", compared<Relation::less>},
    {"lower", in_case<text::is_small>},
    {"lt", compared<Relation::less>},
    {"mapping", plain<is_mapping>},
    {"ne", compared<Relation::not_equal>},
    {"none", plain<is_none>},
    {"number", plain<is_number>},
    {"odd", is_odd},
    {"sameas", is_same},
    {"sequence", plain<is_sequence>},
    {"string", plain<is_string>},
    {"test", nullptr},
    {"true", plain<is_exactly_true>},
    {"undefined", plain<is_undefined>},
    {"upper", in_case<text::is_capital>},
}};
static_assert(is_sorted_by_name(kTests));

}  // namespace

const Test* find_test(std::string_view name) {
    return find_by_name(kTests, name);
}

bool holds(Runtime& runtime, const Test& test, const Value& value, const Arguments& arguments) {
    if (!test.body) refuse_left_out(runtime, "test", test.name);
    count_call(runtime, value, arguments);
    return test.body(runtime, value, arguments);
}

}  // namespace llmc::jinja
