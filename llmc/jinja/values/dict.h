// Python's dict: keys in the order of their first insertion, found by hash. Keys that are equal are one key, whatever
// their type: 1, 1.0 and True. Also the namespace object, the only thing that a template can change.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "llmc/jinja/values/runtime.h"

namespace llmc::jinja {

class Dict {
  public:
    struct Entry {
        Value key, value;
    };

    std::span<const Entry> entries() const { return {entries_, size_}; }
    size_t size() const { return size_; }

    // nullptr: there is no such key. Raises an error when `key` cannot be a key (a list, a dict).
    const Value* find(Runtime& runtime, const Value& key) const;
    const Value* find(Runtime& runtime, std::string_view key) const;

    // Sets the value of a key, whether it is there or not. For the one who makes the dict, before anybody else sees it.
    void set(Runtime& runtime, const Value& key, const Value& value);

  private:
    // Up to so many entries are searched one by one.
    static constexpr size_t kSearched = 8;

    template <class Equal>
    const Entry* search(Runtime& runtime, uint64_t hash, Equal equal) const;
    void append(Runtime& runtime, const Value& key, const Value& value, uint64_t hash);
    void grow(Runtime& runtime);
    void index(Runtime& runtime, size_t entry);
    // Where in the table the search for a hash begins.
    size_t first_place(uint64_t hash) const;

    Entry* entries_ = nullptr;
    uint64_t* hashes_ = nullptr;  // of each entry
    uint32_t* table_ = nullptr;   // twice as many as entries fit, of entry + 1; 0: free; each place looked at is a step
    size_t size_ = 0, capacity_ = 0;
};

// namespace(..): attributes that {% set n.name = .. %} changes.
class Namespace {
  public:
    explicit Namespace(Dict* attributes) : attributes_(attributes) {}
    const Dict& attributes() const { return *attributes_; }
    // Raises an error for a name that begins with an underscore.
    void set(Runtime& runtime, std::string_view name, const Value& value);

  private:
    Dict* attributes_;
};

// Whether the value may be a key: its type has a hash, and so has what a tuple holds.
bool is_hashable(Runtime& runtime, const Value& value);

}  // namespace llmc::jinja
