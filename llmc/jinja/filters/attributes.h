// The argument `attribute` of filters: "a.b.0", "a,b", or a number.
#pragma once

#include <vector>

#include "llmc/jinja/values/runtime.h"

namespace llmc::jinja {

// The value behind a path of attributes, looked up as item[part]. Kept in the arena.
class AttributePath {
  public:
    // `path`: a str, an int, or none: the value itself. `fallback` missing: undefined where there is no attribute.
    AttributePath(Runtime& runtime, const Value& path, const Value& fallback = {});

    Value of(Runtime& runtime, Value item) const;

  private:
    std::span<const Value> parts_;
    Value fallback_;
};

// What sorting and comparing go by: the attribute, a string of it in lower case unless `case_sensitive`.
class SortKey {
  public:
    // `several`: commas in the path separate paths; the key is then a list.
    SortKey(Runtime& runtime, const Value& path, bool case_sensitive, bool several, const Value& fallback = {});

    Value of(Runtime& runtime, const Value& item) const;

  private:
    Value folded(Runtime& runtime, const Value& value) const;

    std::span<const AttributePath> paths_;  // in the arena
    bool case_sensitive_, several_;
};

// `items` in the order of their keys, stably.
void sort_by(Runtime& runtime, std::vector<Value>& items, const SortKey& key, bool reverse);

}  // namespace llmc::jinja
