// Walking over whatever Python can walk over.
#pragma once

#include <vector>

#include "llmc/jinja/values/runtime.h"

namespace llmc::jinja {

// An iterator over the items of a value (characters, keys, ..); an iterator is its own. Raises an error when the value
// has none. An undefined value has no items.
Iterator& iterate(Runtime& runtime, const Value& value);

// From the last item to the first: of strings, lists, tuples, dicts, views and ranges. nullptr: Python cannot reverse
// it.
Iterator* iterate_reversed(Runtime& runtime, const Value& value);

bool is_iterable(const Value& value);

// All items; walks an iterator to its end.
std::vector<Value> items_of(Runtime& runtime, const Value& value);

// Python's len(); false: the value has none.
bool find_length(Runtime& runtime, const Value& value, Integer& length);

// Item `index` of a string, list, tuple, range (0 <= index < length), in the iteration order of dicts and views.
Value item_at(Runtime& runtime, const Value& value, size_t index);

// The items of a dict's view.
Value item_of(Runtime& runtime, const View& view, size_t index);

}  // namespace llmc::jinja
