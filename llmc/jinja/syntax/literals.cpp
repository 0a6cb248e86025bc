#include "llmc/jinja/syntax/literals.h"

#include <algorithm>
#include <cstdlib>

#include "llmc/core/error.h"
#include "llmc/core/utf8.h"
#include "llmc/jinja/operators/print.h"
#include "llmc/jinja/text/text.h"

namespace llmc::jinja::syntax {
namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// The value of a digit in `base`, or -1.
int digit_value(char c, int base) {
    const int value = is_digit(c) ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : 99;
    return value < base ? value : -1;
}

// How far digits reach from `at`; a single underscore may stand between two of them.
size_t digits_end(std::string_view text, size_t at, int base) {
    const auto digit_at = [&](size_t i) { return i < text.size() && digit_value(text[i], base) >= 0; };
    if (!digit_at(at)) return at;
    while (digit_at(at) || (at < text.size() && text[at] == '_' && digit_at(at + 1))) ++at;
    return at;
}

// The end of the float that `text` begins with, or 0.
size_t float_end(std::string_view text) {
    size_t end = digits_end(text, 0, 10);
    bool is_float = false;
    if (end < text.size() && text[end] == '.' && digits_end(text, end + 1, 10) > end + 1) {
        end = digits_end(text, end + 1, 10);
        is_float = true;
    }
    if (end < text.size() && (text[end] | 0x20) == 'e') {
        const size_t sign = end + 1 < text.size() && (text[end + 1] == '+' || text[end + 1] == '-') ? 1 : 0;
        const size_t exponent_end = digits_end(text, end + 1 + sign, 10);
        if (exponent_end > end + 1 + sign) return exponent_end;
    }
    return is_float ? end : 0;
}

NumberLiteral integer(std::string_view text, size_t digits, size_t end, int base) {
    NumberLiteral literal{end, {}};
    Integer value = 0;
    for (const char c : text.substr(digits, end - digits)) {
        if (c == '_') continue;
        literal.too_large = literal.too_large || __builtin_mul_overflow(value, Integer{base}, &value) ||
                            __builtin_add_overflow(value, Integer{digit_value(c, base)}, &value);
    }
    literal.value = Value::integer(value);
    return literal;
}

// Up to `most` digits of `base` from `at`, which moves behind them.
char32_t read_digits(std::string_view text, size_t& at, size_t most, int base, size_t& count) {
    char32_t value = 0;
    for (count = 0; count < most && at < text.size() && digit_value(text[at], base) >= 0; ++count, ++at)
        value = value * static_cast<char32_t>(base) + static_cast<char32_t>(digit_value(text[at], base));
    return value;
}

// The character that a letter behind a backslash stands for, or 0.
char simple_escape(char c) {
    switch (c) {
        case '\\':
        case '\'':
        case '"':
            return c;
        case 'a':
            return '\a';
        case 'b':
            return '\b';
        case 'f':
            return '\f';
        case 'n':
            return '\n';
        case 'r':
            return '\r';
        case 't':
            return '\t';
        case 'v':
            return '\v';
        default:
            return 0;
    }
}

}  // namespace

NumberLiteral read_number(std::string_view text, bool may_have_fraction) {
    const size_t float_bytes = may_have_fraction ? float_end(text) : 0;
    if (float_bytes > 0) {
        std::string digits(text.substr(0, float_bytes));
        std::erase(digits, '_');
        return {float_bytes, Value::floating(std::strtod(digits.c_str(), nullptr))};
    }
    if (text[0] == '0' && text.size() > 1) {
        const char letter = static_cast<char>(text[1] | 0x20);
        const int base = letter == 'b' ? 2 : letter == 'o' ? 8 : letter == 'x' ? 16 : 0;
        const size_t digits = text.size() > 2 && text[2] == '_' ? 3 : 2;
        if (base && digits_end(text, digits, base) > digits)
            return integer(text, digits, digits_end(text, digits, base), base);
        // A number that begins with 0 is 0: what follows is a number of its own.
        size_t end = 1;
        while (end < text.size() && (text[end] == '0' || (text[end] == '_' && text.substr(end + 1).starts_with('0'))))
            ++end;
        return integer(text, 0, end, 10);
    }
    return integer(text, 0, digits_end(text, 0, 10), 10);
}

std::string unescape(std::string_view text, std::string& error) {
    std::string result;
    for (size_t at = 0; at < text.size();) {
        if (text[at] != '\\' || at + 1 == text.size()) {
            result += text[at++];
            continue;
        }
        const char c = text[at + 1];
        at += 2;
        const char simple = simple_escape(c);
        size_t count = 0;
        if (simple) {
            result += simple;
        } else if (c == '\n') {
            // A backslash at the end of a line joins it with the next.
        } else if (digit_value(c, 8) >= 0) {
            --at;
            append_utf8(result, read_digits(text, at, 3, 8, count));
        } else if (c == 'x' || c == 'u' || c == 'U') {
            const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
            const char32_t point = read_digits(text, at, digits, 16, count);
            if (count < digits) error = concat("the string has a \\", c, " without its ", digits, " digits");
            if (point > 0x10FFFF || (point >= 0xD800 && point < 0xE000))
                error = "the string has an escape of no character";
            if (error.empty()) append_utf8(result, point);
        } else if (c == 'N') {
            error = "characters cannot be named with \\N here; write the character itself or its \\u escape";
        } else if (static_cast<unsigned char>(c) >= 0x80) {
            // jinja2 first replaces a character beyond ASCII by its escape, and the backslash then stands before that.
            const text::Character character = text::first_character(text.substr(at - 1));
            result += only_ascii(text.substr(at - 1, character.bytes));
            at += character.bytes - 1;
        } else {
            (result += '\\') += c;
        }
    }
    return result;
}

}  // namespace llmc::jinja::syntax
