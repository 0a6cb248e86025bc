#include "llmc/jinja/library/tests.h"

#include <array>

#include "llmc/jinja/filters/filters.h"
#include "llmc/jinja/library/arguments.h"
#include "llmc/jinja/operators/compare.h"
#include "llmc/jinja/operators/operators.h"
#include "llmc/jinja/text/letters.h"
#include "llmc/jinja/text/text.h"
#include "llmc/jinja/values/dict.h"
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

// Letters of one case, and at least one of them.
template <bool upper>
bool in_case(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "the test", arguments, {});
    bool found = false;
    for (std::string_view rest = string_of(runtime, value); !rest.empty();) {
        const text::Character c = text::first_character(rest);
        if (text::is_title(c.code_point) || (upper ? text::is_lower(c.code_point) : text::is_upper(c.code_point)))
            return false;
        found = found || (upper ? text::is_upper(c.code_point) : text::is_lower(c.code_point));
        rest.remove_prefix(c.bytes);
    }
    return found;
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

bool is_in(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "in", arguments, {"seq"}, 1);
    return contains(runtime, parameters[0], value);
}

template <bool (*relation)(Runtime&, const Value&, const Value&)>
bool compared(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "the comparison", arguments, {"/other"}, 1);
    return relation(runtime, value, parameters[0]);
}

bool ordered(Runtime& runtime, const Value& left, const Value& right) {
    if (left.is(Kind::undefined)) raise_undefined(runtime, left);
    if (right.is(Kind::undefined)) raise_undefined(runtime, right);
    return less(runtime, left, right);
}
bool unequal(Runtime& runtime, const Value& left, const Value& right) {
    return !equal(runtime, left, right);
}
bool greater(Runtime& runtime, const Value& left, const Value& right) {
    return ordered(runtime, right, left);
}
bool less_or_equal(Runtime& runtime, const Value& left, const Value& right) {
    return ordered(runtime, left, right) || equal(runtime, left, right);
}
bool greater_or_equal(Runtime& runtime, const Value& left, const Value& right) {
    return ordered(runtime, right, left) || equal(runtime, left, right);
}

// Whether the library has something of that name. Python looks in a dict: what has no hash is an error.
template <class Found, const Found* (*find)(std::string_view)>
bool is_known(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "the test", arguments, {});
    if (!is_hashable(value)) refuse(runtime, "a ", type_name(value), " cannot be a name");
    return value.is_string() && find(value.as_text());
}

constexpr std::array<Test, 39> kTests{{
    {"!=", compared<unequal>},
    {"<", compared<ordered>},
    {"<=", compared<less_or_equal>},
    {"==", compared<equal>},
    {">", compared<greater>},
    {">=", compared<greater_or_equal>},
    {"boolean", plain<is_boolean>},
    {"callable", plain<is_callable>},
    {"defined", plain<is_defined>},
    {"divisibleby", is_divisible},
    {"eq", compared<equal>},
    {"equalto", compared<equal>},
    {"escaped", plain<is_escaped>},
    {"even", is_even},
    {"false", plain<is_exactly_false>},
    {"filter", is_known<Filter, find_filter>},
    {"float", plain<is_float>},
    {"ge", compared<greater_or_equal>},
    {"greaterthan", compared<greater>},
    {"gt", compared<greater>},
    {"in", is_in},
    {"integer", plain<is_integer>},
    {"iterable", plain<can_be_walked>},
    {"le", compared<less_or_equal>},
    {"lessthan", compared<ordered>},
    {"lower", in_case<false>},
    {"lt", compared<ordered>},
    {"mapping", plain<is_mapping>},
    {"ne", compared<unequal>},
    {"none", plain<is_none>},
    {"number", plain<is_number>},
    {"odd", is_odd},
    {"sameas", is_same},
    {"sequence", plain<is_sequence>},
    {"string", plain<is_string>},
    {"test", is_known<Test, find_test>},
    {"true", plain<is_exactly_true>},
    {"undefined", plain<is_undefined>},
    {"upper", in_case<true>},
}};
static_assert(is_sorted_by_name(kTests));

}  // namespace

const Test* find_test(std::string_view name) {
    return find_by_name(kTests, name);
}

}  // namespace llmc::jinja
