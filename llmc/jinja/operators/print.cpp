#include "llmc/jinja/operators/print.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "llmc/core/markup.h"
#include "llmc/jinja/text/letters.h"
#include "llmc/jinja/text/text.h"
#include "llmc/jinja/values/dict.h"
#include "llmc/jinja/values/iterate.h"

namespace llmc::jinja {
namespace {

void append_items(Runtime& runtime, std::string& text, std::string_view open, std::span<const Value> items,
                  std::string_view close) {
    text += open;
    for (size_t i = 0; i < items.size(); ++i) {
        if (i > 0) text += ", ";
        append_representation(runtime, text, items[i]);
    }
    text += close;
}

void append_dict(Runtime& runtime, std::string& text, const Dict& dict) {
    text += '{';
    for (const Dict::Entry& entry : dict.entries()) {
        if (&entry != dict.entries().data()) text += ", ";
        append_representation(runtime, text, entry.key);
        text += ": ";
        append_representation(runtime, text, entry.value);
    }
    text += '}';
}

void append_view(Runtime& runtime, std::string& text, const View& view) {
    constexpr std::array<std::string_view, 3> kNames{"dict_keys([", "dict_values([", "dict_items(["};
    std::vector<Value> items;
    for (size_t i = 0; i < view.dict->size(); ++i) items.push_back(item_of(runtime, view, i));
    append_items(runtime, text, kNames[static_cast<size_t>(view.what)], items, "])");
}

void append_range(std::string& text, const Range& range) {
    text += "range(" + represent_integer(range.start) + ", " + represent_integer(range.stop);
    if (range.step != 1) text += ", " + represent_integer(range.step);
    text += ')';
}

void append_hexadecimal(std::string& text, char32_t c) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    const int digits = c < 0x100 ? 2 : c < 0x10000 ? 4 : 8;
    text += digits == 2 ? "\\x" : digits == 4 ? "\\u" : "\\U";
    for (int i = digits - 1; i >= 0; --i) text += kDigits[c >> (4 * i) & 0xF];
}

}  // namespace

std::string_view escape_html(Runtime& runtime, std::string_view text) {
    runtime.work(text.size());
    size_t size = 0;
    for (const char c : text) size += std::max<size_t>(markup_escape(c).size(), 1);
    char* escaped = runtime.array<char>(size);
    char* end = escaped;
    for (const char& c : text) {
        const std::string_view escape = markup_escape(c);
        end = std::ranges::copy(escape.empty() ? std::string_view(&c, 1) : escape, end).out;
    }
    return {escaped, size};
}

std::string represent_integer(Integer number) {
    std::array<char, 48> digits;
    char* at = digits.data() + digits.size();
    auto rest = number < 0 ? -static_cast<unsigned __int128>(number) : static_cast<unsigned __int128>(number);
    do *--at = static_cast<char>('0' + static_cast<int>(rest % 10));
    while ((rest /= 10) != 0);
    if (number < 0) *--at = '-';
    return {at, digits.data() + digits.size()};
}

std::string represent_float(double number) {
    if (std::isnan(number)) return "nan";
    if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
    // d.ddde[+-]xx, to be laid out anew.
    std::array<char, 40> buffer;
    const auto end =
        std::to_chars(buffer.data(), buffer.data() + buffer.size(), number, std::chars_format::scientific).ptr;
    const std::string_view shortest(buffer.data(), static_cast<size_t>(end - buffer.data()));
    const size_t mark = shortest.find('e');
    const int exponent = std::atoi(std::string(shortest.substr(mark + 1)).c_str());
    const bool negative = shortest[0] == '-';
    std::string digits;
    for (const char c : shortest.substr(0, mark))
        if (c >= '0' && c <= '9') digits += c;
    std::string text = negative ? "-" : "";
    const auto size = static_cast<int>(digits.size());
    if (exponent < -4 || exponent >= 16) {
        text += digits.substr(0, 1);
        if (size > 1) text += "." + digits.substr(1);
        text += std::string(shortest.substr(mark));
    } else if (exponent < 0) {
        text += "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
    } else if (size <= exponent + 1) {
        text += digits + std::string(static_cast<size_t>(exponent + 1 - size), '0') + ".0";
    } else {
        text += digits.substr(0, static_cast<size_t>(exponent + 1)) + "." +
                digits.substr(static_cast<size_t>(exponent + 1));
    }
    return text;
}

void append_quoted(std::string& text, std::string_view string) {
    const bool single = string.find('\'') == string.npos || string.find('"') != string.npos;
    const char quote = single ? '\'' : '"';
    text += quote;
    while (!string.empty()) {
        const text::Character c = text::first_character(string);
        const char32_t point = c.code_point;
        if (point == '\\' || point == static_cast<char32_t>(quote))
            (text += '\\') += static_cast<char>(point);
        else if (point == '\n')
            text += "\\n";
        else if (point == '\r')
            text += "\\r";
        else if (point == '\t')
            text += "\\t";
        else if (!text::is_printable(point))
            append_hexadecimal(text, point);
        else
            text += string.substr(0, c.bytes);
        string.remove_prefix(c.bytes);
    }
    text += quote;
}

std::string only_ascii(std::string_view representation) {
    std::string text;
    while (!representation.empty()) {
        const text::Character c = text::first_character(representation);
        if (c.code_point < 0x80)
            text += representation[0];
        else
            append_hexadecimal(text, c.code_point);
        representation.remove_prefix(c.bytes);
    }
    return text;
}

void append_representation(Runtime& runtime, std::string& text, const Value& value) {
    runtime.step();
    const Runtime::Nesting nesting(runtime);
    switch (value.kind()) {
        case Kind::missing:
        case Kind::undefined:
            text += "Undefined";
            break;
        case Kind::none:
            text += "None";
            break;
        case Kind::boolean:
            text += value.as_boolean() ? "True" : "False";
            break;
        case Kind::integer:
            text += represent_integer(value.as_integer());
            break;
        case Kind::floating:
            text += represent_float(value.as_floating());
            break;
        case Kind::string:
            runtime.work(value.as_text().size());
            runtime.check_size(text.size() + 4 * value.as_text().size());  // \x00
            if (value.is_safe()) text += "Markup(";
            append_quoted(text, value.as_text());
            if (value.is_safe()) text += ')';
            break;
        case Kind::list:
            append_items(runtime, text, "[", value.as_items(), "]");
            break;
        case Kind::tuple:
            append_items(runtime, text, "(", value.as_items(), value.as_items().size() == 1 ? ",)" : ")");
            break;
        case Kind::dict:
            append_dict(runtime, text, value.as_dict());
            break;
        case Kind::view:
            append_view(runtime, text, value.as_view());
            break;
        case Kind::range:
            append_range(text, value.as_range());
            break;
        case Kind::iterator:
            refuse(runtime, "a generator cannot be printed; put '| list' or '| join' behind the filter that made it");
        case Kind::name_space:
            text += "<Namespace ";
            append_dict(runtime, text, value.as_name_space().attributes());
            text += '>';
            break;
        case Kind::object:
            text += value.as_object().print(runtime);
            break;
    }
    runtime.check_size(text.size());
}

void append_string(Runtime& runtime, std::string& text, const Value& value) {
    if (value.is_string())
        text += value.as_text();
    else if (!value.is(Kind::undefined))
        append_representation(runtime, text, value);
}

std::string to_string(Runtime& runtime, const Value& value) {
    std::string text;
    append_string(runtime, text, value);
    return text;
}

std::string_view string_of(Runtime& runtime, const Value& value) {
    return value.is_string() ? value.as_text() : runtime.keep(to_string(runtime, value));
}

}  // namespace llmc::jinja
