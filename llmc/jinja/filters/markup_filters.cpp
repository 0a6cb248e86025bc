// Filters that escape the marks of HTML, or say that there is no need.
#include <array>

#include "llmc/jinja/filters/filters.h"
#include "llmc/jinja/library/arguments.h"

namespace llmc::jinja {
namespace {

Value escape(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "escape", arguments, {});
    if (value.is_string() && value.is_safe()) return value;
    return Value::string(escape_html(runtime, string_of(runtime, value)), true);
}

Value mark_safe(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "safe", arguments, {});
    return Value::string(string_of(runtime, value), true);
}

constexpr std::array<Filter, 7> kFilters{{
    {"e", escape},
    {"escape", escape},
    {"forceescape", nullptr},
    {"safe", mark_safe},
    {"striptags", nullptr},
    {"urlencode", nullptr},
    {"xmlattr", nullptr},
}};
static_assert(is_sorted_by_name(kFilters));

}  // namespace

const Filter* find_markup_filter(std::string_view name) {
    return find_by_name(kFilters, name);
}

}  // namespace llmc::jinja
