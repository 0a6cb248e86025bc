// The methods of str that look for something in it, or take it apart.
#include <algorithm>
#include <array>

#include "llmc/jinja/library/arguments.h"
#include "llmc/jinja/methods/methods.h"
#include "llmc/jinja/text/text.h"

namespace llmc::jinja {
namespace {

// The part of a str between two positions in characters, as find(), count() and startswith() take them.
struct Part {
    std::string_view text;
    size_t begin;  // in characters
    bool exists;   // false: it begins behind the end, where not even "" is found
};

Part part_of(Runtime& runtime, std::string_view text, const Parameters& parameters) {
    runtime.work(text.size());
    if (!parameters.given(1) && !parameters.given(2)) return {text, 0, true};
    const auto size = static_cast<Integer>(text::length(text));
    const auto place = [&](size_t i, Integer otherwise) {
        if (!parameters.given(i)) return otherwise;
        const Integer at = parameters.integer(i);
        return at < 0 ? std::max<Integer>(at + size, 0) : at;
    };
    const Integer begin = place(1, 0), end = std::min(place(2, size), size);
    if (begin > end) return {{}, 0, false};
    return {text::cut(text, static_cast<size_t>(begin), static_cast<size_t>(end)), static_cast<size_t>(begin), true};
}

// forwards: the first occurrence, else the last one. -1: there is none.
template <bool forwards>
Integer position(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters parameters(runtime, "find", arguments, {"/sub", "/start", "/end"}, 1);
    const std::string_view sought = parameters.text(0);
    const Part part = part_of(runtime, self.as_text(), parameters);
    if (!part.exists) return -1;
    const size_t found = forwards ? part.text.find(sought) : part.text.rfind(sought);
    if (found == part.text.npos) return -1;
    return static_cast<Integer>(part.begin + text::length(part.text.substr(0, found)));
}

template <bool forwards>
Value find(Runtime& runtime, const Value& self, const Arguments& arguments) {
    return Value::integer(position<forwards>(runtime, self, arguments));
}

template <bool forwards>
Value index(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Integer found = position<forwards>(runtime, self, arguments);
    if (found < 0) refuse(runtime, "index: the substring is not there");
    return Value::integer(found);
}

Value count(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters parameters(runtime, "count", arguments, {"/sub", "/start", "/end"}, 1);
    const std::string_view sought = parameters.text(0);
    const Part part = part_of(runtime, self.as_text(), parameters);
    if (!part.exists) return Value::integer(0);
    const size_t found = sought.empty() ? text::length(part.text) + 1 : count_text(part.text, sought);
    return Value::integer(static_cast<Integer>(found));
}

// begin: startswith, else endswith. The first argument is a str or a tuple of some.
template <bool begin>
Value has_end(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const std::string_view name = begin ? "startswith" : "endswith";
    const Parameters parameters(runtime, name, arguments, {"/text", "/start", "/end"}, 1);
    const Part part = part_of(runtime, self.as_text(), parameters);
    const auto fits = [&](std::string_view sought) {
        return part.exists && (begin ? part.text.starts_with(sought) : part.text.ends_with(sought));
    };
    if (!parameters[0].is(Kind::tuple)) return Value::boolean(fits(parameters.text(0)));
    for (const Value& sought : parameters[0].as_items()) {
        if (!sought.is_string()) refuse(runtime, name, " needs a str or a tuple of str, not of ", type_name(sought));
        if (fits(sought.as_text())) return Value::boolean(true);
    }
    return Value::boolean(false);
}

Value strings(Runtime& runtime, const Value& self, const std::vector<std::string_view>& parts) {
    std::vector<Value> values;
    for (const std::string_view part : parts) values.push_back(Value::string(part, self.is_safe()));
    runtime.work(values.size() * sizeof(Value));
    return runtime.list(values);
}

size_t most_splits(const Parameters& parameters) {
    const Integer given = parameters.integer(1, -1);
    return given < 0 || given > static_cast<Integer>(SIZE_MAX) ? SIZE_MAX : static_cast<size_t>(given);
}

std::vector<std::string_view> split_at(std::string_view text, std::string_view separator, size_t most) {
    std::vector<std::string_view> parts;
    for (; parts.size() < most; text.remove_prefix(parts.back().size() + separator.size())) {
        const size_t found = text.find(separator);
        if (found == text.npos) break;
        parts.push_back(text.substr(0, found));
    }
    parts.push_back(text);
    return parts;
}

std::vector<std::string_view> split_last_at(std::string_view text, std::string_view separator, size_t most) {
    std::vector<std::string_view> parts;
    while (parts.size() < most) {
        const size_t found = text.rfind(separator);
        if (found == text.npos) break;
        parts.push_back(text.substr(found + separator.size()));
        text = text.substr(0, found);
    }
    parts.push_back(text);
    std::ranges::reverse(parts);
    return parts;
}

// Where the first blank stands, or the size.
size_t find_space(std::string_view text) {
    size_t at = 0;
    while (at < text.size()) {
        const text::Character c = text::first_character(text.substr(at));
        if (text::is_space(c.code_point)) break;
        at += c.bytes;
    }
    return at;
}

// Where the characters behind the last blank begin.
size_t find_last_word(std::string_view text) {
    while (!text.empty()) {
        const size_t bytes = text::last_character_bytes(text);
        if (text::is_space(text::first_character(text.substr(text.size() - bytes)).code_point)) break;
        text.remove_suffix(bytes);
    }
    return text.size();
}

std::vector<std::string_view> split_words(std::string_view text, size_t most) {
    std::vector<std::string_view> parts;
    for (text = text::strip_left(text); !text.empty(); text = text::strip_left(text)) {
        if (parts.size() == most) {
            parts.push_back(text);
            break;
        }
        parts.push_back(text.substr(0, find_space(text)));
        text.remove_prefix(parts.back().size());
    }
    return parts;
}

std::vector<std::string_view> split_last_words(std::string_view text, size_t most) {
    std::vector<std::string_view> parts;
    for (text = text::strip_right(text); !text.empty(); text = text::strip_right(text)) {
        if (parts.size() == most) {
            parts.push_back(text);
            break;
        }
        parts.push_back(text.substr(find_last_word(text)));
        text.remove_suffix(parts.back().size());
    }
    std::ranges::reverse(parts);
    return parts;
}

Value split(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters parameters(runtime, "split", arguments, {"sep", "maxsplit"});
    const size_t most = most_splits(parameters);
    runtime.work(self.as_text().size());
    if (!parameters.given(0)) return strings(runtime, self, split_words(self.as_text(), most));
    if (parameters.text(0).empty()) refuse(runtime, "split needs a separator that is not empty");
    return strings(runtime, self, split_at(self.as_text(), parameters.text(0), most));
}

Value split_last(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters parameters(runtime, "rsplit", arguments, {"sep", "maxsplit"});
    const size_t most = most_splits(parameters);
    runtime.work(self.as_text().size());
    if (!parameters.given(0)) return strings(runtime, self, split_last_words(self.as_text(), most));
    if (parameters.text(0).empty()) refuse(runtime, "rsplit needs a separator that is not empty");
    return strings(runtime, self, split_last_at(self.as_text(), parameters.text(0), most));
}

Value split_lines(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters parameters(runtime, "splitlines", arguments, {"keepends"});
    runtime.work(self.as_text().size());
    return strings(runtime, self, text::split_lines(self.as_text(), parameters.truth(0)));
}

// forwards: at the first separator, else at the last one.
template <bool forwards>
Value partition(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters parameters(runtime, "partition", arguments, {"/sep"}, 1);
    const std::string_view whole = self.as_text();
    const std::string_view separator = self.is_safe() && !parameters[0].is_safe()
                                           ? runtime.keep(text::escape_html(parameters.text(0)))
                                           : parameters.text(0);
    if (separator.empty()) refuse(runtime, "partition needs a separator that is not empty");
    runtime.work(whole.size());
    const size_t found = forwards ? whole.find(separator) : whole.rfind(separator);
    const auto string = [&](std::string_view part) { return Value::string(part, self.is_safe()); };
    if (found == whole.npos)
        return forwards ? runtime.tuple({self, string({}), string({})}) : runtime.tuple({string({}), string({}), self});
    return runtime.tuple(
        {string(whole.substr(0, found)), string(separator), string(whole.substr(found + separator.size()))});
}

constexpr std::array<Method, 12> kMethods{{
    {"count", count},
    {"endswith", has_end<false>},
    {"find", find<true>},
    {"index", index<true>},
    {"partition", partition<true>},
    {"rfind", find<false>},
    {"rindex", index<false>},
    {"rpartition", partition<false>},
    {"rsplit", split_last},
    {"split", split},
    {"splitlines", split_lines},
    {"startswith", has_end<true>},
}};
static_assert(is_sorted_by_name(kMethods));

}  // namespace

size_t count_text(std::string_view whole, std::string_view part) {
    size_t count = 0;
    for (size_t at = whole.find(part); at != whole.npos; at = whole.find(part, at + part.size())) ++count;
    return count;
}

const Method* find_string_search_method(std::string_view name) {
    return find_by_name(kMethods, name);
}

}  // namespace llmc::jinja
