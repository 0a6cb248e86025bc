// Reads JSON, with errors for whoever wrote the file: what is wrong, in which file, at which line or field.
//
//   config.json: line 7, column 3 (byte 112): unexpected end of input; expected '}'
//   config.json: field "hidden_size" must be a positive integer, found "abc"
//
// Text must be UTF-8, an object must not name a field twice, and nesting is bounded, so that no file can overflow the
// stack of code that walks the tree.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llmc {

constexpr int kMaxJsonDepth = 100;

// A list or an object with more entries than a tree should hold. It is the field `inner` of the root's field `outer`;
// the tree keeps it without its entries, and `take` gets each as it is read: its key ("" in a list) and its value, both
// of which it may move from. Keys are not compared. What `take` throws ends the reading.
struct LongField {
    std::string outer, inner;
    bool is_object;  // else a list; a field of the other kind goes into the tree
    std::function<void(std::string& key, nlohmann::json& value)> take;
};

// `name` begins every error: the file, or the file and its line.
nlohmann::json parse_json(std::string_view text, const std::string& name, std::span<const LongField> long_fields = {});
nlohmann::json read_json(const std::filesystem::path& path, std::span<const LongField> long_fields = {});

// Of a message of nlohmann-json, "[json.exception.parse_error.101] parse error at line 1, column 9: syntax error while
// parsing value - what", what it says is wrong.
std::string json_problem(const std::string& message);
// "line 1, column 9 (byte 8): " for the byte that the parser counts from 1; "" for 0, which says nothing.
std::string place_in(std::string_view text, size_t byte);

// For people: each field of an object on its own line, two spaces further in; a list on one line.
std::string dump_pretty(const nlohmann::ordered_json& value);

// The number that prints as the shortest decimal of `value`: 0.1f gives 0.1 and not 0.10000000149011612. Narrowing it
// gives `value` back exactly.
double shortest_decimal(float value);

// A value as error messages show it, cut short if it is long: "abc", 12, [..].
std::string describe(const nlohmann::json& value);

// A view of an object that somebody else keeps alive, with the name of its file. A null field counts as absent, as
// Hugging Face reads these files.
class JsonObject {
  public:
    // `prefix` begins the names of its fields in errors: "rope_scaling." for a nested object.
    JsonObject(const nlohmann::json& object, std::string file, std::string prefix = "");

    const nlohmann::json& tree() const { return object_; }
    const std::string& file() const { return file_; }
    bool contains(const std::string& key) const;                // present, null or not
    bool has(const std::string& key) const;                     // present and not null
    const nlohmann::json& value(const std::string& key) const;  // throws when absent
    JsonObject object(const std::string& key) const;            // nested
    std::string field(const std::string& key) const;            // `config.json: field "rope_scaling.factor"`
    [[noreturn]] void fail_field(const std::string& key,
                                 const std::string& must) const;  // "... must be `must`, found ..."

    int64_t integer(const std::string& key, int64_t min, int64_t max) const;
    // Of a field at hand: `value` is the one under `key`.
    int64_t integer(const std::string& key, const nlohmann::json& value, int64_t min, int64_t max) const;
    int64_t integer(const std::string& key, int64_t min, int64_t max, int64_t absent) const;
    // Finite, within [min, max].
    double number(const std::string& key, double min, double max) const;
    double number(const std::string& key, double min, double max, double absent) const;
    bool boolean(const std::string& key) const;
    bool boolean(const std::string& key, bool absent) const;
    std::string string(const std::string& key) const;
    std::string string(const std::string& key, const std::string& absent) const;
    std::vector<double> numbers(const std::string& key) const;  // a list of finite numbers
    std::vector<std::string> strings(const std::string& key) const;

  private:
    const nlohmann::json& object_;
    std::string file_;
    std::string prefix_;
};

}  // namespace llmc
