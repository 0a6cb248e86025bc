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

Part part_of(std::string_view text, const Parameters& parameters) {
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

// Where `sought` stands last, or npos. The search may look at all of it at each place.
size_t find_last(Runtime& runtime, std::string_view text, std::string_view sought) {
    if (sought.size() > text.size()) return text.npos;
    runtime.work(text.size() - sought.size() + 1, sought.size());
    return text.rfind(sought);
}

// forwards: the first occurrence, else the last one. -1: there is none.
template <bool forwards>
Integer position(Runtime& runtime, std::string_view name, const Value& self, const Arguments& arguments) {
    const Parameters parameters(runtime, name, arguments, {"/sub", "/start", "/end"}, 1);
    const std::string_view sought = parameters.text(0);
    const Part part = part_of(self.as_text(), parameters);
    if (!part.exists) return -1;
    const size_t found = forwards ? text::find(part.text, sought) : find_last(runtime, part.text, sought);
    if (found == part.text.npos) return -1;
    return static_cast<Integer>(part.begin + text::length(part.text.substr(0, found)));
}

template <bool forwards>
Value find(Runtime& runtime, const Value& self, const Arguments& arguments) {
    return Value::integer(position<forwards>(runtime, forwards ? "find" : "rfind", self, arguments));
}

template <bool forwards>
Value index(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const std::string_view name = forwards ? "index" : "rindex";
    const Integer found = position<forwards>(runtime, name, self, arguments);
    if (found < 0) refuse(runtime, name, ": the substring is not there");
    return Value::integer(found);
}

Value count(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters parameters(runtime, "count", arguments, {"/sub", "/start", "/end"}, 1);
    const std::string_view sought = parameters.text(0);
    const Part part = part_of(self.as_text(), parameters);
    if (!part.exists) return Value::integer(0);
    const size_t found = sought.empty() ? text::length(part.text) + 1 : count_occurrences(part.text, sought);
    return Value::integer(static_cast<Integer>(found));
}

// begin: startswith, else endswith. The first argument is a str or a tuple of some.
template <bool begin>
Value has_end(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const std::string_view name = begin ? "startswith" : "endswith";
    const Parameters parameters(runtime, name, arguments, {"/text", "/start", "/end"}, 1);
    const Part part = part_of(self.as_text(), parameters);
    const auto fits = [&](std::string_view sought) {
        return part.exists && (begin ? part.text.starts_with(sought) : part.text.ends_with(sought));
    };
    if (!parameters[0].is(Kind::tuple)) return Value::boolean(fits(parameters.text(0)));
    for (const Value& sought : parameters[0].as_items()) {
        runtime.step();
        if (!sought.is_string()) refuse(runtime, name, " needs a str or a tuple of str, not of ", type_name(sought));
        runtime.work(sought.as_text().size());
        if (fits(sought.as_text())) return Value::boolean(true);
    }
    return Value::boolean(false);
}

// The parts that a str is taken apart into, of its kind.
class Parts {
  public:
    Parts(Runtime& runtime, const Value& self) : runtime_(runtime), safe_(self.is_safe()) {}

    size_t size() const { return values_.size(); }
    void add(std::string_view part) {
        runtime_.step();
        runtime_.check_size((values_.size() + 1) * sizeof(Value));
        values_.push_back(Value::string(part, safe_));
    }
    Value list() const { return runtime_.list(values_); }
    Value reversed() {
        std::ranges::reverse(values_);
        return list();
    }

  private:
    Runtime& runtime_;
    bool safe_;
    std::vector<Value> values_;
};

size_t most_splits(const Parameters& parameters) {
    const Integer given = parameters.integer(1, -1);
    return given < 0 || given > static_cast<Integer>(SIZE_MAX) ? SIZE_MAX : static_cast<size_t>(given);
}

Value split_at(Parts parts, std::string_view text, std::string_view separator, size_t most) {
    while (parts.size() < most) {
        const size_t found = text::find(text, separator);
        if (found == text.npos) break;
        parts.add(text.substr(0, found));
        text.remove_prefix(found + separator.size());
    }
    parts.add(text);
    return parts.list();
}

Value split_last_at(Parts parts, std::string_view text, std::string_view separator, size_t most) {
    while (parts.size() < most) {
        const size_t found = text.rfind(separator);
        if (found == text.npos) break;
        parts.add(text.substr(found + separator.size()));
        text = text.substr(0, found);
    }
    parts.add(text);
    return parts.reversed();
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

Value split_words(Parts parts, std::string_view text, size_t most) {
    for (text = text::strip_left(text); !text.empty(); text = text::strip_left(text)) {
        const size_t end = parts.size() == most ? text.size() : find_space(text);
        parts.add(text.substr(0, end));
        text.remove_prefix(end);
    }
    return parts.list();
}

Value split_last_words(Parts parts, std::string_view text, size_t most) {
    for (text = text::strip_right(text); !text.empty(); text = text::strip_right(text)) {
        const size_t begin = parts.size() == most ? 0 : find_last_word(text);
        parts.add(text.substr(begin));
        text = text.substr(0, begin);
    }
    return parts.reversed();
}

// forwards: from the left.
template <bool forwards>
Value split(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const std::string_view name = forwards ? "split" : "rsplit", text = self.as_text();
    const Parameters parameters(runtime, name, arguments, {"sep", "maxsplit"});
    const size_t most = most_splits(parameters);
    if (!parameters.given(0))
        return forwards ? split_words({runtime, self}, text, most) : split_last_words({runtime, self}, text, most);
    const std::string_view separator = parameters.text(0);
    if (separator.empty()) refuse(runtime, name, " needs a separator that is not empty");
    if (forwards) return split_at({runtime, self}, text, separator, most);
    runtime.work(text.size(), separator.size());  // as find_last() does
    return split_last_at({runtime, self}, text, separator, most);
}

Value split_lines(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters parameters(runtime, "splitlines", arguments, {"keepends"});
    Parts parts(runtime, self);
    for (std::string_view rest = self.as_text(); !rest.empty();) parts.add(text::take_line(rest, parameters.truth(0)));
    return parts.list();
}

// forwards: at the first separator, else at the last one.
template <bool forwards>
Value partition(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const std::string_view name = forwards ? "partition" : "rpartition";
    const Parameters parameters(runtime, name, arguments, {"/sep"}, 1);
    const std::string_view whole = self.as_text();
    const std::string_view separator =
        self.is_safe() && !parameters[0].is_safe() ? escape_html(runtime, parameters.text(0)) : parameters.text(0);
    if (separator.empty()) refuse(runtime, name, " needs a separator that is not empty");
    const size_t found = forwards ? text::find(whole, separator) : find_last(runtime, whole, separator);
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
    {"rsplit", split<false>},
    {"split", split<true>},
    {"splitlines", split_lines},
    {"startswith", has_end<true>},
}};
static_assert(is_sorted_by_name(kMethods));

}  // namespace

size_t count_occurrences(std::string_view whole, std::string_view part) {
    size_t count = 0;
    for (size_t at = text::find(whole, part); at != whole.npos; at = text::find(whole, part)) {
        ++count;
        whole.remove_prefix(at + part.size());
    }
    return count;
}

const Method* find_string_search_method(std::string_view name) {
    return find_by_name(kMethods, name);
}

}  // namespace llmc::jinja
