#include "llmc/io/ordered_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/io/json.h"

namespace llmc {
namespace {

using Members = std::vector<std::pair<const std::string, Json>>;

// The fields as they are kept. The functions of an object itself look for a name first, which would make large objects
// quadratic.
Members& members(Json& object) {
    return object.get_ref<Json::object_t&>();
}

// One value from the events of nlohmann-json's parser.
class ValueBuilder {
  public:
    Json root;
    std::string problem;
    size_t problem_byte = 0;  // 0: unknown

    ValueBuilder() { tree_.begin(root); }

    bool null() { return add(nullptr); }
    bool boolean(bool value) { return add(value); }
    bool number_integer(int64_t value) { return add(value); }
    bool number_unsigned(uint64_t value) { return add(value); }
    bool number_float(double value, const std::string&) { return add(value); }
    bool string(std::string& text) { return add(std::move(text)); }
    bool binary(Json::binary_t&) { return false; }  // not in text
    bool key(std::string& name) {
        tree_.name(std::move(name));
        return true;
    }
    bool start_object(size_t) { return open(Json::object()); }
    bool start_array(size_t) { return open(Json::array()); }
    bool end_object() { return close(); }
    bool end_array() { return close(); }
    bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& error) {
        problem = json_problem(error.what());
        problem_byte = position;
        return false;
    }

  private:
    bool add(Json value) {
        tree_.add(std::move(value));
        return true;
    }
    bool open(Json&& empty) {
        if (tree_.depth() == kMaxJsonDepth) {
            problem = concat("nested more than ", kMaxJsonDepth, " levels deep");
            return false;
        }
        tree_.open(std::move(empty));
        return true;
    }
    bool close() {
        const std::string twice = tree_.close();
        if (!twice.empty()) problem = concat("field ", describe(twice), " appears twice in the same object");
        return twice.empty();
    }

    OrderedTree tree_;
};

}  // namespace

Json& OrderedTree::add(Json&& value) {
    if (open_.empty()) return *root_ = std::move(value);
    Json& parent = *open_.back();
    if (parent.is_array()) return parent.emplace_back(std::move(value));
    return members(parent).back().second = std::move(value);
}

void OrderedTree::name(std::string&& name) {
    members(*open_.back()).emplace_back(std::move(name), nullptr);
}

std::string OrderedTree::close() {
    Json& closed = *open_.back();
    open_.pop_back();
    if (!closed.is_object()) return "";
    std::vector<std::string_view> names;
    names.reserve(closed.size());
    for (const auto& [name, value] : members(closed)) names.push_back(name);
    std::ranges::sort(names);
    const auto twice = std::ranges::adjacent_find(names);
    return twice == names.end() ? "" : std::string(*twice);
}

Json parse_ordered_json(std::string_view text, const std::string& name) {
    ValueBuilder builder;
    if (Json::sax_parse(text.begin(), text.end(), &builder)) return std::move(builder.root);
    fail(name, ": ", place_in(text, builder.problem_byte), builder.problem);
}

}  // namespace llmc
