// The tests: {% if value is name(arguments) %}.
#pragma once

#include <string_view>

#include "llmc/jinja/values/runtime.h"

namespace llmc::jinja {

struct Test {
    std::string_view name;
    // nullptr: jinja2 has it, and no chat template needs it; holds() refuses it by name.
    bool (*body)(Runtime& runtime, const Value& value, const Arguments& arguments);
};

// nullptr: there is none of that name.
const Test* find_test(std::string_view name);

bool holds(Runtime& runtime, const Test& test, const Value& value, const Arguments& arguments);

}  // namespace llmc::jinja
