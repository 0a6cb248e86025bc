// The methods of str that return a changed str. Markup's escape the strings that they are given and return Markup.
#include <algorithm>
#include <array>
#include <limits>

#include "llmc/jinja/library/arguments.h"
#include "llmc/jinja/methods/format.h"
#include "llmc/jinja/methods/methods.h"
#include "llmc/jinja/text/letters.h"
#include "llmc/jinja/text/text.h"
#include "llmc/jinja/values/dict.h"
#include "llmc/jinja/values/iterate.h"

namespace llmc::jinja {
namespace {

// A str of `self`'s kind: Markup if it is Markup.
Value like(Runtime& runtime, const Value& self, std::string_view result) {
    return runtime.string(result, self.is_safe());
}

// What a method is given, as `self` takes it.
std::string_view argument(Runtime& runtime, const Value& self, const Parameters& parameters, size_t i) {
    const std::string_view given = parameters.text(i);
    if (!self.is_safe() || parameters[i].is_safe()) return given;
    return escape_html(runtime, given);
}

template <std::string (*change)(std::string_view)>
Value changed(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters none(runtime, "the method of str", arguments, {});
    runtime.work(8, self.as_text().size());
    runtime.check_size(3 * self.as_text().size());  // one letter may become three
    return like(runtime, self, change(self.as_text()));
}

// left and right: which ends.
template <bool left, bool right>
Value strip(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const std::string_view name = left && right ? "strip" : left ? "lstrip" : "rstrip";
    const Parameters parameters(runtime, name, arguments, {"/chars"});
    std::string_view text = self.as_text();
    if (!parameters.given(0)) {
        if (left) text = text::strip_left(text);
        if (right) text = text::strip_right(text);
    } else {
        const std::string_view set = argument(runtime, self, parameters, 0);
        runtime.work(text.size(), set.size());
        if (left) text = text::strip_left(text, set);
        if (right) text = text::strip_right(text, set);
    }
    return Value::string(text, self.is_safe());
}

template <char align>
Value justify(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters parameters(runtime, "the method of str", arguments, {"/width", "/fillchar"}, 1);
    Specification specification;
    specification.fill = parameters.has(1) ? argument(runtime, self, parameters, 1) : " ";
    if (text::length(specification.fill) != 1) refuse(runtime, "the fill character is not one character");
    const Integer width = parameters.integer(0);
    if (width > std::numeric_limits<int32_t>::max()) runtime.check_size(SIZE_MAX);
    specification.width = width < 0 ? 0 : static_cast<size_t>(width);
    const size_t length = text::length(self.as_text());
    if (align != '^' || specification.width <= length)
        return like(runtime, self, pad(runtime, specification, self.as_text(), align));
    // Python's center() puts the odd blank to the left when the width is odd.
    const size_t blanks = specification.width - length;
    const size_t before = blanks / 2 + (blanks & specification.width & 1);
    specification.width = length + before;
    const std::string half = pad(runtime, specification, self.as_text(), '>');
    specification.width = length + blanks;
    return like(runtime, self, pad(runtime, specification, half, '<'));
}

Value zfill(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters parameters(runtime, "zfill", arguments, {"/width"}, 1);
    const Integer width = parameters.integer(0);
    const std::string_view text = self.as_text();
    const auto length = static_cast<Integer>(text::length(text));
    if (width <= length) return self;
    if (width > std::numeric_limits<int32_t>::max()) runtime.check_size(SIZE_MAX);
    const size_t sign = text.starts_with('+') || text.starts_with('-') ? 1 : 0;
    runtime.check_size(static_cast<size_t>(width));
    runtime.work(static_cast<size_t>(width));
    std::string filled(text.substr(0, sign));
    filled.append(static_cast<size_t>(width - length), '0').append(text.substr(sign));
    return like(runtime, self, filled);
}

Value remove_prefix(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters parameters(runtime, "removeprefix", arguments, {"/prefix"}, 1);
    std::string_view text = self.as_text();
    const std::string_view prefix = argument(runtime, self, parameters, 0);
    if (text.starts_with(prefix)) text.remove_prefix(prefix.size());
    return Value::string(text, self.is_safe());
}

Value remove_suffix(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters parameters(runtime, "removesuffix", arguments, {"/suffix"}, 1);
    std::string_view text = self.as_text();
    const std::string_view suffix = argument(runtime, self, parameters, 0);
    if (text.ends_with(suffix)) text.remove_suffix(suffix.size());
    return Value::string(text, self.is_safe());
}

Value replace(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters parameters(runtime, "replace", arguments, {"/old", "/new", "/count"}, 2);
    const Integer count = parameters.integer(2, -1);
    const std::string_view old_text = argument(runtime, self, parameters, 0);
    const std::string_view new_text = argument(runtime, self, parameters, 1);
    return replace_text(runtime, self, old_text, new_text, count);
}

Value join(Runtime& runtime, const Value& self, const Arguments& arguments) {
    const Parameters parameters(runtime, "join", arguments, {"/iterable"}, 1);
    std::string joined;
    bool first = true;
    Iterator& iterator = iterate(runtime, parameters[0]);
    for (Value item; iterator.next(runtime, item); runtime.step()) {
        if (!first) joined += self.as_text();
        first = false;
        if (!item.is_string()) refuse(runtime, "join needs strings, not a ", type_name(item));
        if (self.is_safe() && !item.is_safe())
            joined += escape_html(runtime, item.as_text());
        else
            joined += item.as_text();
        runtime.work(self.as_text().size() + item.as_text().size());
        runtime.check_size(joined.size());
    }
    return like(runtime, self, joined);
}

constexpr std::array<Method, 22> kMethods{{
    {"capitalize", changed<text::capitalize>},
    {"casefold", nullptr},
    {"center", justify<'^'>},
    {"encode", nullptr},
    {"expandtabs", nullptr},
    {"format", format_braces},
    {"format_map", nullptr},
    {"join", join},
    {"ljust", justify<'<'>},
    {"lower", changed<text::lower>},
    {"lstrip", strip<true, false>},
    {"removeprefix", remove_prefix},
    {"removesuffix", remove_suffix},
    {"replace", replace},
    {"rjust", justify<'>'>},
    {"rstrip", strip<false, true>},
    {"strip", strip<true, true>},
    {"swapcase", nullptr},
    {"title", changed<text::title>},
    {"translate", nullptr},
    {"upper", changed<text::upper>},
    {"zfill", zfill},
}};
static_assert(is_sorted_by_name(kMethods));

}  // namespace

Value replace_text(Runtime& runtime, const Value& self, std::string_view old_text, std::string_view new_text,
                   Integer count) {
    const std::string_view whole = self.as_text();
    runtime.work(2, whole.size());
    const size_t found = old_text.empty() ? text::length(whole) + 1 : count_occurrences(whole, old_text);
    const size_t times = count < 0 || count > static_cast<Integer>(found) ? found : static_cast<size_t>(count);
    if (times > 0 && new_text.size() > runtime.options().max_value_bytes / times) runtime.check_size(SIZE_MAX);
    runtime.check_size(whole.size() + times * new_text.size());
    return like(runtime, self, text::replace(whole, old_text, new_text, times));
}

const Method* find_string_method(std::string_view name) {
    return find_by_name(kMethods, name);
}

}  // namespace llmc::jinja
