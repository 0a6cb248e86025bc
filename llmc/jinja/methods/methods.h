// The methods of str, list, tuple, dict, int, float and range, but for those that change a list or dict: transformers'
// sandbox keeps these from templates.
#pragma once

#include <string_view>

#include "llmc/jinja/values/runtime.h"

namespace llmc::jinja {

struct Method {
    std::string_view name;
    // nullptr: Python has it, and no chat template needs it; call_method() and bind() refuse it by name.
    Value (*body)(Runtime& runtime, const Value& self, const Arguments& arguments);
};

// nullptr: there is none of that name.
const Method* find_method(const Value& self, std::string_view name);

// Whether `name` is a method that changes a value of that kind.
bool changes(Kind kind, std::string_view name);

Value call_method(Runtime& runtime, const Method& method, const Value& self, const Arguments& arguments);

// The method and its value as a function.
Value bind(Runtime& runtime, const Method& method, const Value& self);

// str.replace(); a negative count: every occurrence.
Value replace_text(Runtime& runtime, const Value& self, std::string_view old_text, std::string_view new_text,
                   Integer count);
// How often `part`, which is not empty, stands in `whole`, without overlap.
size_t count_occurrences(std::string_view whole, std::string_view part);

// The tables, one file each.
const Method* find_string_method(std::string_view name);         // that return a changed str
const Method* find_string_search_method(std::string_view name);  // that look into one, or take it apart
const Method* find_string_test_method(std::string_view name);    // isdigit and its kin
const Method* find_container_method(Kind kind, std::string_view name);
const Method* find_number_method(Kind kind, std::string_view name);

}  // namespace llmc::jinja
