// The filters: {{ value | name(arguments) }}.
#pragma once

#include <string_view>

#include "llmc/jinja/values/runtime.h"

namespace llmc::jinja {

struct Filter {
    std::string_view name;
    // nullptr: jinja2 has it, and no chat template needs it; apply_filter() refuses it by name.
    Value (*body)(Runtime& runtime, const Value& value, const Arguments& arguments);
};

// nullptr: there is none of that name.
const Filter* find_filter(std::string_view name);

Value apply_filter(Runtime& runtime, const Filter& filter, const Value& value, const Arguments& arguments);

// The tables, one file each.
const Filter* find_text_filter(std::string_view name);       // of strings
const Filter* find_markup_filter(std::string_view name);     // that escape a text, or say that it is safe
const Filter* find_number_filter(std::string_view name);     // of numbers
const Filter* find_sequence_filter(std::string_view name);   // that return one item, or a list
const Filter* find_generator_filter(std::string_view name);  // that return an iterator
const Filter* find_value_filter(std::string_view name);      // of anything

}  // namespace llmc::jinja
