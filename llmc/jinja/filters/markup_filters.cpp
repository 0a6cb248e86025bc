// Filters that escape, or take away, the marks of HTML and URLs.
#include <algorithm>
#include <array>

#include "llmc/jinja/filters/filters.h"
#include "llmc/jinja/library/arguments.h"
#include "llmc/jinja/operators/operators.h"
#include "llmc/jinja/text/text.h"
#include "llmc/jinja/values/dict.h"
#include "llmc/jinja/values/iterate.h"

namespace llmc::jinja {
namespace {

Value escape(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "escape", arguments, {});
    if (value.is_string() && value.is_safe()) return value;
    return runtime.string(text::escape_html(string_of(runtime, value)), true);
}

Value force_escape(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "forceescape", arguments, {});
    return runtime.string(text::escape_html(string_of(runtime, value)), true);
}

Value mark_safe(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "safe", arguments, {});
    return Value::string(string_of(runtime, value), true);
}

// Without what stands between `open` and `close`; an open one without its end stays.
std::string without(std::string_view text, std::string_view open, std::string_view close) {
    std::string kept;
    for (;;) {
        const size_t begin = text.find(open);
        const size_t end = begin == text.npos ? text.npos : text.find(close, begin);
        if (end == text.npos) return kept.append(text);
        kept += text.substr(0, begin);
        text.remove_prefix(end + close.size());
    }
}

// The character that an entity at the beginning of `text` stands for; `bytes` of it are its name, 0: there is none.
char32_t entity(std::string_view text, size_t& bytes) {
    struct Named {
        std::string_view name;
        char32_t character;
    };
    constexpr std::array<Named, 6> kNamed{
        {{"&amp;", U'&'}, {"&lt;", U'<'}, {"&gt;", U'>'}, {"&quot;", U'"'}, {"&apos;", U'\''}, {"&nbsp;", 0xA0}}};
    for (const Named& named : kNamed) {
        bytes = named.name.size();
        if (text.starts_with(named.name)) return named.character;
    }
    bytes = 0;
    if (!text.starts_with("&#")) return 0;
    const bool hexadecimal = text.size() > 2 && (text[2] | 0x20) == 'x';
    char32_t point = 0;
    size_t at = hexadecimal ? 3 : 2;
    const size_t first = at;
    for (; at < text.size() && at < first + 7; ++at) {
        const char c = static_cast<char>(text[at] | 0x20);
        const int digit = text[at] >= '0' && text[at] <= '9'    ? text[at] - '0'
                          : hexadecimal && c >= 'a' && c <= 'f' ? c - 'a' + 10
                                                                : -1;
        if (digit < 0) break;
        point = point * (hexadecimal ? 16 : 10) + static_cast<char32_t>(digit);
    }
    if (at == first || point == 0 || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) return 0;
    bytes = at + (at < text.size() && text[at] == ';' ? 1 : 0);
    return point;
}

std::string unescape(std::string_view text) {
    std::string result;
    while (!text.empty()) {
        size_t bytes = 0;
        const char32_t character = text[0] == '&' ? entity(text, bytes) : 0;
        if (bytes > 0) {
            text::append(result, character);
        } else {
            bytes = 1;
            result += text[0];
        }
        text.remove_prefix(bytes);
    }
    return result;
}

// The words of a text with one blank between them.
std::string with_single_blanks(std::string_view text) {
    std::string result;
    bool blank = false;
    for (text = text::strip_right(text::strip_left(text)); !text.empty();) {
        const text::Character c = text::first_character(text);
        if (!text::is_space(c.code_point)) {
            if (blank) result += ' ';
            result += text.substr(0, c.bytes);
        }
        blank = text::is_space(c.code_point);
        text.remove_prefix(c.bytes);
    }
    return result;
}

Value strip_tags(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "striptags", arguments, {});
    const std::string_view text = string_of(runtime, value);
    runtime.work(8 * text.size());
    return runtime.string(unescape(with_single_blanks(without(without(text, "<!--", "-->"), "<", ">"))));
}

Value xml_attributes(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "xmlattr", arguments, {"autospace"});
    if (!value.is(Kind::dict)) refuse(runtime, "xmlattr needs a dict, not a ", type_name(value));
    std::string result;
    for (const Dict::Entry& entry : value.as_dict().entries()) {
        if (entry.value.is(Kind::none) || entry.value.is(Kind::undefined)) continue;
        if (!entry.key.is_string()) refuse(runtime, "xmlattr needs strings as keys, not a ", type_name(entry.key));
        if (entry.key.as_text().find_first_of(" \t\n\r\f\v/>=") != std::string_view::npos)
            refuse(runtime, "the name of an attribute may not hold blanks, '/', '>' or '='");
        if (!result.empty()) result += ' ';
        const std::string_view shown = string_of(runtime, entry.value);
        const bool safe = entry.value.is_string() && entry.value.is_safe();
        result += text::escape_html(entry.key.as_text()) + "=\"" +
                  (safe ? std::string(shown) : text::escape_html(shown)) + "\"";
    }
    const bool space = !parameters.has(0) || parameters.truth(0);
    return runtime.string(space && !result.empty() ? " " + result : result);
}

// in_query: "/" is quoted as well, and a blank becomes "+".
std::string quote(std::string_view text, bool in_query) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    std::string quoted;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool plain = byte < 0x80 && (std::isalnum(byte) || c == '_' || c == '.' || c == '-' || c == '~' ||
                                           (c == '/' && !in_query));
        if (plain)
            quoted += c;
        else if (c == ' ' && in_query)
            quoted += '+';
        else
            ((quoted += '%') += kDigits[byte >> 4]) += kDigits[byte & 15];
    }
    return quoted;
}

Value url_encode(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "urlencode", arguments, {});
    if (value.is_string() || !is_iterable(value)) return runtime.string(quote(string_of(runtime, value), false));
    const bool is_dict = value.is(Kind::dict);
    std::string query;
    Iterator& pairs = iterate(runtime, value);
    size_t at = 0;
    for (Value pair; pairs.next(runtime, pair); runtime.step()) {
        if (is_dict) pair = item_of(runtime, View{View::What::items, &value.as_dict()}, at++);
        const std::vector<Value> items = items_of(runtime, pair);
        if (items.size() != 2) refuse(runtime, "urlencode needs pairs of key and value");
        if (!query.empty()) query += '&';
        query += quote(string_of(runtime, items[0]), true) + "=" + quote(string_of(runtime, items[1]), true);
        runtime.check_size(query.size());
    }
    return runtime.string(query);
}

constexpr std::array<Filter, 7> kFilters{{
    {"e", escape},
    {"escape", escape},
    {"forceescape", force_escape},
    {"safe", mark_safe},
    {"striptags", strip_tags},
    {"urlencode", url_encode},
    {"xmlattr", xml_attributes},
}};
static_assert(is_sorted_by_name(kFilters));

}  // namespace

const Filter* find_markup_filter(std::string_view name) {
    return find_by_name(kFilters, name);
}

}  // namespace llmc::jinja
