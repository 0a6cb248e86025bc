// Filters of any value: default, attr, tojson.
#include <array>

#include "llmc/jinja/filters/filters.h"
#include "llmc/jinja/library/arguments.h"
#include "llmc/jinja/operators/operators.h"
#include "llmc/jinja/values/iterate.h"

namespace llmc::jinja {
namespace {

Value or_default(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "default", arguments, {"default_value", "boolean"});
    const bool absent = value.is(Kind::undefined) || (parameters.truth(1) && !is_true(value));
    return absent ? parameters.get(0, Value::string({})) : value;
}

// The attribute alone, never an item.
Value attribute(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "attr", arguments, {"name"}, 1);
    const std::string_view name = parameters.text(0);
    Value found;
    if (find_attribute(runtime, value, name, found)) return found;
    if (value.is(Kind::undefined)) raise_undefined(runtime, value);
    return Value::undefined(Undefinedness::attribute, name, value.kind());
}

// json.dumps(value, ensure_ascii, indent, separators, sort_keys), which is what transformers makes of tojson: nothing
// is escaped for HTML.
Value to_json(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
    JsonStyle style;
    style.ensure_ascii = parameters.truth(0);
    style.sort_keys = parameters.truth(3);
    std::string indentation;
    std::string_view indent;
    if (parameters.given(1)) {
        if (parameters[1].is_string()) {
            indentation = parameters[1].as_text();
        } else {
            const Integer width = std::max<Integer>(parameters.integer(1), 0);
            runtime.check_size(width > INT32_MAX ? SIZE_MAX : static_cast<size_t>(width));
            indentation.assign(static_cast<size_t>(width), ' ');
        }
        indent = indentation;
        style.indent = &indent;
        style.item_separator = ",";
    }
    std::vector<Value> separators;
    if (parameters.given(2)) {
        separators = items_of(runtime, parameters[2]);
        if (separators.size() != 2 || !separators[0].is_string() || !separators[1].is_string())
            refuse(runtime, "tojson needs two strings as separators");
        style.item_separator = separators[0].as_text();
        style.key_separator = separators[1].as_text();
    }
    std::string text;
    append_json(runtime, text, value, style);
    return runtime.string(text);
}

constexpr std::array<Filter, 4> kFilters{{
    {"attr", attribute},
    {"d", or_default},
    {"default", or_default},
    {"tojson", to_json},
}};
static_assert(is_sorted_by_name(kFilters));

}  // namespace

const Filter* find_value_filter(std::string_view name) {
    return find_by_name(kFilters, name);
}

}  // namespace llmc::jinja
