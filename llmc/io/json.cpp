#include "llmc/io/json.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"

namespace llmc {

using nlohmann::json;

namespace {

// Builds the tree from the parser's events, and refuses what nlohmann::json::parse accepts: fields named twice (it
// keeps the last) and unbounded nesting. The parser itself does not recurse.
class TreeBuilder : public nlohmann::json_sax<json> {
  public:
    explicit TreeBuilder(std::span<const LongField> long_fields) : long_fields_(long_fields) {}

    json root;
    std::string error;
    size_t error_byte = 0;

    bool null() override { return add(nullptr); }
    bool boolean(bool value) override { return add(value); }
    bool number_integer(number_integer_t value) override { return add(value); }
    bool number_unsigned(number_unsigned_t value) override { return add(value); }
    bool number_float(number_float_t value, const string_t&) override { return add(value); }
    bool string(string_t& value) override { return add(std::move(value)); }
    bool binary(binary_t&) override { return false; }  // not in text
    bool start_object(size_t) override { return open(json::object()); }
    bool start_array(size_t) override { return open(json::array()); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }

    bool key(string_t& name) override {
        if (open_.size() <= 2) names_[open_.size() - 1] = name;
        if (in_long_field()) {
            key_ = std::move(name);
            slot_ = &entry_;
            return true;
        }
        const auto [slot, is_new] = open_.back()->emplace(std::move(name), nullptr);
        if (!is_new) error = concat("field ", describe(slot.key()), " appears twice in the same object");
        slot_ = &slot.value();
        return is_new;
    }

    bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& exception) override {
        error = json_problem(exception.what());
        error_byte = position;
        return false;
    }

  private:
    bool add(json value) {
        if (in_long_field()) {
            long_field_->take(key_, value);
        } else if (open_.empty()) {
            root = std::move(value);
        } else if (open_.back()->is_array()) {
            open_.back()->push_back(std::move(value));
        } else {
            *slot_ = std::move(value);
        }
        return true;
    }

    bool open(json value) {
        if (open_.size() == kMaxJsonDepth) {
            error = concat("nested more than ", kMaxJsonDepth, " levels deep");
            return false;
        }
        json* place = open_.empty() ? &root : slot_;
        if (in_long_field()) {
            entry_ = std::move(value);
            place = &entry_;
        } else if (!open_.empty() && open_.back()->is_array()) {
            open_.back()->push_back(std::move(value));
            place = &open_.back()->back();
        } else {
            *place = std::move(value);
        }
        open_.push_back(place);
        if (open_.size() == kLongDepth) long_field_ = find_long_field();
        return true;
    }

    bool close() {
        if (open_.size() == kLongDepth) long_field_ = nullptr;
        open_.pop_back();
        if (in_long_field()) long_field_->take(key_, entry_);
        return true;
    }

    // The root, a field of it, and the long field in that one.
    static constexpr size_t kLongDepth = 3;

    const LongField* find_long_field() const {
        if (!root.is_object() || !open_[1]->is_object()) return nullptr;
        for (const LongField& field : long_fields_) {
            if (field.outer == names_[0] && field.inner == names_[1] && field.is_object == open_.back()->is_object())
                return &field;
        }
        return nullptr;
    }
    bool in_long_field() const { return long_field_ && open_.size() == kLongDepth; }

    std::span<const LongField> long_fields_;
    std::vector<json*> open_;                // unfinished objects and arrays, outermost first
    json* slot_ = nullptr;                   // where the value after a key goes
    std::string names_[2];                   // of the latest field of the root, and of the latest in that one
    const LongField* long_field_ = nullptr;  // the one that is being read
    std::string key_;                        // of its entry
    json entry_;
};

std::string range_in_words(int64_t min, int64_t max) {
    if (max == std::numeric_limits<int64_t>::max()) {
        return min == 1   ? "a positive integer"
               : min == 0 ? "zero or a positive integer"
                          : concat("an integer >= ", min);
    }
    return min == 1 ? concat("a positive integer up to ", max) : concat("an integer from ", min, " to ", max);
}

}  // namespace

std::string json_problem(const std::string& message) {
    const size_t dash = message.find(" - ");
    const size_t bracket = message.find("] ");
    return message.substr(dash != message.npos ? dash + 3 : bracket != message.npos ? bracket + 2 : 0);
}

std::string place_in(std::string_view text, size_t byte) {
    if (byte == 0) return "";
    const std::string_view before = text.substr(0, std::min(byte - 1, text.size()));
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const size_t column = before.size() - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
    return concat("line ", line, ", column ", column, " (byte ", before.size(), "): ");
}

json parse_json(std::string_view text, const std::string& name, std::span<const LongField> long_fields) {
    TreeBuilder builder(long_fields);
    if (json::sax_parse(text.begin(), text.end(), &builder)) return std::move(builder.root);
    fail(name, ": ", place_in(text, builder.error_byte), builder.error);
}

json read_json(const std::filesystem::path& path, std::span<const LongField> long_fields) {
    const std::string text = read_file(path);
    refuse_lfs_pointer(path, text);
    return parse_json(text, path.string(), long_fields);
}

namespace {

void append_pretty(std::string& text, const nlohmann::ordered_json& value, const std::string& indent) {
    if (!value.is_object() || value.empty()) {
        text += value.dump();
        return;
    }
    const char* separator = "{\n";
    for (const auto& [key, child] : value.items()) {
        text += concat(separator, indent, "  ", nlohmann::ordered_json(key).dump(), ": ");
        append_pretty(text, child, indent + "  ");
        separator = ",\n";
    }
    text += "\n" + indent + "}";
}

}  // namespace

std::string dump_pretty(const nlohmann::ordered_json& value) {
    std::string text;
    append_pretty(text, value, "");
    return text + "\n";
}

double shortest_decimal(float value) {
    std::array<char, 32> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    double result = 0;
    std::from_chars(digits.data(), end, result);
    return static_cast<float>(result) == value ? result : value;
}

std::string describe(const json& value) {
    if (value.is_object()) return value.empty() ? "{}" : "{..}";
    if (value.is_array() && value.size() > 8) return concat("a list of ", value.size(), " values");
    constexpr size_t kLongest = 60;
    std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
    if (text.size() <= kLongest) return text;
    size_t cut = kLongest;
    while ((text[cut] & 0xc0) == 0x80) --cut;  // not inside a UTF-8 sequence
    return text.substr(0, cut) + "..";
}

JsonObject::JsonObject(const json& object, std::string file, std::string prefix)
    : object_(object), file_(std::move(file)), prefix_(std::move(prefix)) {
    require(object_.is_object(), file_, ": must hold a JSON object { .. }, found ", describe(object_));
}

bool JsonObject::contains(const std::string& key) const {
    return object_.contains(key);
}

bool JsonObject::has(const std::string& key) const {
    const auto it = object_.find(key);
    return it != object_.end() && !it->is_null();
}

const json& JsonObject::value(const std::string& key) const {
    const auto it = object_.find(key);
    require(it != object_.end(), field(key), " is missing");
    return *it;
}

JsonObject JsonObject::object(const std::string& key) const {
    const json& nested = value(key);
    if (!nested.is_object()) fail_field(key, "a JSON object { .. }");
    return {nested, file_, concat(prefix_, key, ".")};
}

std::string JsonObject::field(const std::string& key) const {
    return concat(file_, ": field \"", prefix_, key, "\"");
}

void JsonObject::fail_field(const std::string& key, const std::string& must) const {
    if (!object_.contains(key)) fail(field(key), " is missing, it must be ", must);
    fail(field(key), " must be ", must, ", found ", describe(object_.at(key)));
}

int64_t JsonObject::integer(const std::string& key, int64_t min, int64_t max) const {
    const auto it = object_.find(key);
    if (it == object_.end()) fail_field(key, range_in_words(min, max));
    return integer(key, *it, min, max);
}

int64_t JsonObject::integer(const std::string& key, const json& value, int64_t min, int64_t max) const {
    const bool fits =
        value.is_number_integer() &&
        !(value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()});
    if (!fits || value.get<int64_t>() < min || value.get<int64_t>() > max) fail_field(key, range_in_words(min, max));
    return value.get<int64_t>();
}

int64_t JsonObject::integer(const std::string& key, int64_t min, int64_t max, int64_t absent) const {
    return has(key) ? integer(key, min, max) : absent;
}

double JsonObject::number(const std::string& key, double min, double max) const {
    const auto it = object_.find(key);
    const double result = it != object_.end() && it->is_number() ? it->get<double>() : std::nan("");
    if (!(std::isfinite(result) && result >= min && result <= max)) {
        fail_field(key, concat("a number from ", min, " to ", max));
    }
    return result;
}

double JsonObject::number(const std::string& key, double min, double max, double absent) const {
    return has(key) ? number(key, min, max) : absent;
}

bool JsonObject::boolean(const std::string& key) const {
    const auto it = object_.find(key);
    if (it == object_.end() || !it->is_boolean()) fail_field(key, "true or false");
    return it->get<bool>();
}

bool JsonObject::boolean(const std::string& key, bool absent) const {
    return has(key) ? boolean(key) : absent;
}

std::string JsonObject::string(const std::string& key) const {
    const auto it = object_.find(key);
    if (it == object_.end() || !it->is_string()) fail_field(key, "a string");
    return it->get<std::string>();
}

std::string JsonObject::string(const std::string& key, const std::string& absent) const {
    return has(key) ? string(key) : absent;
}

std::vector<double> JsonObject::numbers(const std::string& key) const {
    const auto it = object_.find(key);
    const bool fits = it != object_.end() && it->is_array() && std::all_of(it->begin(), it->end(), [](const json& x) {
                          return x.is_number() && std::isfinite(x.get<double>());
                      });
    if (!fits) fail_field(key, "a list of numbers");
    return it->get<std::vector<double>>();
}

std::vector<std::string> JsonObject::strings(const std::string& key) const {
    const auto it = object_.find(key);
    const bool fits = it != object_.end() && it->is_array() &&
                      std::all_of(it->begin(), it->end(), [](const json& x) { return x.is_string(); });
    if (!fits) fail_field(key, "a list of strings");
    return it->get<std::vector<std::string>>();
}

}  // namespace llmc
