#include "llmc/data/field.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/core/utf8.h"

namespace llmc {
namespace {

std::string kind_of_list(const Json& list) {
    if (list.empty()) return "an empty list";
    const bool objects = list.front().is_object();
    const auto other = std::find_if(list.begin(), list.end(), [&](const Json& element) {
        return objects ? !element.is_object() : !is_integer(element);
    });
    if (other == list.end()) return objects ? "a list of objects" : "a list of integers";
    const std::string what = other->is_array() ? "a list" : kind_of(*other);
    return concat("a list with ", what, " at position ", other - list.begin());
}

}  // namespace

std::string kind_of(const Json& value) {
    if (value.is_null()) return "null";
    if (value.is_string()) return "a string";
    if (value.is_boolean()) return "true or false";
    if (value.is_object()) return "an object";
    return value.is_array() ? kind_of_list(value) : value.dump();
}

std::string in_quotes(std::string_view text) {
    constexpr size_t kMost = 40;
    std::string clean = "\"";
    while (!text.empty()) {
        if (clean.size() > kMost) return clean + "...\"";
        const Utf8Sequence sequence = utf8_sequence(text);
        const bool control = static_cast<unsigned char>(text.front()) < ' ' || text.front() == 127;
        clean += sequence.kind == Utf8::valid && !control ? text.substr(0, sequence.length) : "?";
        text.remove_prefix(sequence.length);
    }
    return clean + "\"";
}

bool is_integer(const Json& value) {
    if (!value.is_number_integer()) return false;
    return !value.is_number_unsigned() || value.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()};
}

}  // namespace llmc
