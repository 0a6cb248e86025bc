// Python's ==, <, `in` and `is`.
#pragma once

#include "llmc/jinja/values/runtime.h"

namespace llmc::jinja {

bool equal(Runtime& runtime, const Value& left, const Value& right);

// left < right. Raises an error when their types have no order, or one of them is undefined.
bool less(Runtime& runtime, const Value& left, const Value& right);

// item in container. Walks an iterator until the item is found.
bool contains(Runtime& runtime, const Value& container, const Value& item);

enum class Relation : uint8_t { equal, not_equal, less, less_equal, greater, greater_equal, in, not_in };
// left RELATION right. Raises an error when an order is asked for of an undefined value.
bool compare(Runtime& runtime, Relation relation, const Value& left, const Value& right);

// left is right: the same object. Strings and numbers: equal ones of one type, as Python mostly keeps them.
bool same(const Value& left, const Value& right);

}  // namespace llmc::jinja
