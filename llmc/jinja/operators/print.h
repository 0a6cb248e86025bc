// Python's str() and repr(), and json.dumps.
#pragma once

#include <string>
#include <string_view>

#include "llmc/jinja/values/runtime.h"

namespace llmc::jinja {

// str(value), at the end of `text`. Raises an error for what Python prints with an address in memory.
void append_string(Runtime& runtime, std::string& text, const Value& value);
std::string to_string(Runtime& runtime, const Value& value);

// str(value), without a copy of what is a string already. Lives until the rendering ends.
std::string_view string_of(Runtime& runtime, const Value& value);

void append_representation(Runtime& runtime, std::string& text, const Value& value);

// The shortest digits that read back as the same number, in Python's layout: 1.0, 1e+16, 1.5e-07, inf, nan.
std::string represent_float(double number);
std::string represent_integer(Integer number);
// 'text', with Python's choice of quotes and its escapes.
void append_quoted(std::string& text, std::string_view string);
// What Python's ascii() makes of a representation: escapes for all that is not ASCII.
std::string only_ascii(std::string_view representation);

// The text with Markup's escapes for & < > ' ". Lives until the rendering ends.
std::string_view escape_html(Runtime& runtime, std::string_view text);

// json.dumps. `indent` nullptr: on one line.
struct JsonStyle {
    const std::string_view* indent = nullptr;  // of one level
    std::string_view item_separator = ", ", key_separator = ": ";
    bool ensure_ascii = false, sort_keys = false;
};
void append_json(Runtime& runtime, std::string& text, const Value& value, const JsonStyle& style);

}  // namespace llmc::jinja
