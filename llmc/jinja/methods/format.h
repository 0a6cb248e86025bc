// Python's two ways to format: '%s' % value and '{}'.format(value).
#pragma once

#include <string>
#include <string_view>

#include "llmc/jinja/values/runtime.h"

namespace llmc::jinja {

// format % values: a tuple's items in turn, a dict's by name, or one value.
Value format_percent(Runtime& runtime, const Value& format, const Value& values);

// format.format(..) of a str.
Value format_braces(Runtime& runtime, const Value& format, const Arguments& arguments);

// How a number is laid out in a field: Python's format specification, and what % has of it.
struct Specification {
    std::string_view fill = " ";
    char align = 0;          // < > = ^, 0: the type's own
    char sign = '-';         // - + or blank
    bool alternate = false;  // #
    char grouping = 0;       // , or _
    size_t width = 0;        // in characters
    int precision = -1;      // -1: none
    char type = 0;           // 0: the value's own
};

// Raises an error when the type does not fit the number. Texts are placed by `pad`.
std::string format_integer(Runtime& runtime, const Specification& specification, Integer number);
std::string format_float(Runtime& runtime, const Specification& specification, double number);
std::string pad(Runtime& runtime, const Specification& specification, std::string_view text, char own_align);

// The character of a code point, as UTF-8. Raises an error when there is none: out of range, or a surrogate.
std::string character_of(Runtime& runtime, Integer code_point);

// One value by Python's format(value, specification).
std::string format_value(Runtime& runtime, const Value& value, std::string_view specification);

}  // namespace llmc::jinja
