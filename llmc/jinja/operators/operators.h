// Arithmetic and subscripts with Python's rules and jinja2's order of looking for an attribute or an item.
#pragma once

#include <string_view>

#include "llmc/jinja/values/runtime.h"

namespace llmc::jinja {

enum class Arithmetic : uint8_t { add, subtract, multiply, divide, floor_divide, modulo, power };

// left OP right, for numbers, strings, lists and tuples. `%` of a string formats it.
Value calculate(Runtime& runtime, Arithmetic operation, const Value& left, const Value& right);
Value negate(Runtime& runtime, const Value& value);
Value plus(Runtime& runtime, const Value& value);  // the value, an int for a bool

// object.name: an attribute or method, else the item of that key, else undefined. Attributes that change a list or
// dict, or begin with an underscore, are undefined, and their use raises an error.
Value get_attribute(Runtime& runtime, const Value& object, std::string_view name);
// The attribute or method alone, as the sandbox lets it be seen; false: there is none.
bool find_attribute(Runtime& runtime, const Value& object, std::string_view name, Value& found);

// object[index]: an item, else the attribute of that name, else undefined.
Value get_item(Runtime& runtime, const Value& object, const Value& index);

// object[start:stop:step]; none where nothing stands.
Value get_slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop, const Value& step);

// Raises the error of an undefined value that is used for more than printing, walking or asking whether it is true.
[[noreturn]] void raise_undefined(const Runtime& runtime, const Value& undefined);

}  // namespace llmc::jinja
