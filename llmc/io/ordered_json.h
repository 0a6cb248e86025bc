// JSON whose objects keep the order of their fields: what a chat template may write out again.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace llmc {

using Json = nlohmann::ordered_json;

// As parse_json of llmc/io/json.h, with the same limits: UTF-8, bounded nesting, no object that names a field twice.
// `name` begins every error.
Json parse_ordered_json(std::string_view text, const std::string& name);

// Puts the values that a parser finds into a tree, one after the other. Linear in their number, also where an object
// has many fields.
class OrderedTree {
  public:
    // The next value is put here, and whatever it holds is put into it. `root` must not move before it is closed.
    void begin(Json& root) { root_ = &root; }
    // Whether a list or an object waits to be closed.
    bool is_open() const { return !open_.empty(); }
    int64_t depth() const { return static_cast<int64_t>(open_.size()); }

    // The next value, or the next element of the innermost list, or what stands under its last name.
    Json& add(Json&& value);
    void name(std::string&& name);
    void open(Json&& empty) { open_.push_back(&add(std::move(empty))); }
    // Returns a name that the object has twice, or "".
    std::string close();

  private:
    Json* root_ = nullptr;
    std::vector<Json*> open_;  // outermost first
};

}  // namespace llmc
