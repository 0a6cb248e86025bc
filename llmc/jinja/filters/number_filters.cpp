// Filters of numbers, and those that make one of a text.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "llmc/jinja/filters/filters.h"
#include "llmc/jinja/library/arguments.h"
#include "llmc/jinja/operators/operators.h"
#include "llmc/jinja/text/letters.h"
#include "llmc/jinja/text/text.h"

namespace llmc::jinja {
namespace {

// The text without blanks around it and with the decimal digits of all scripts as 0 to 9, as int() and float() read it.
std::string plain_digits(std::string_view text) {
    std::string plain;
    for (text = text::strip_right(text::strip_left(text)); !text.empty();) {
        const text::Character c = text::first_character(text);
        const int digit = c.code_point < 0x80 ? -1 : text::digit_value(c.code_point);
        if (digit >= 0)
            plain += static_cast<char>('0' + digit);
        else
            plain += text.substr(0, c.bytes);
        text.remove_prefix(c.bytes);
    }
    return plain;
}

// The value of a digit in base 36, or 99.
int digit_of(char c) {
    const char letter = static_cast<char>(c | 0x20);
    return c >= '0' && c <= '9' ? c - '0' : letter >= 'a' && letter <= 'z' ? letter - 'a' + 10 : 99;
}

// The text without single underscores between digits of `base`; nothing if there are others.
std::optional<std::string> without_underscores(std::string_view text, Integer base) {
    std::string digits;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '_') {
            digits += text[i];
            continue;
        }
        const bool between =
            i > 0 && i + 1 < text.size() && digit_of(text[i - 1]) < base && digit_of(text[i + 1]) < base;
        if (!between) return std::nullopt;
    }
    return digits;
}

// Python's int(text, base); nothing: it is none.
std::optional<Integer> parse_integer(const Runtime& runtime, std::string_view written, Integer base) {
    const std::string plain = plain_digits(written);
    std::string_view text = plain;
    const bool negative = text.starts_with('-');
    if (negative || text.starts_with('+')) text.remove_prefix(1);
    const char mark = text.size() > 1 && text[0] == '0' ? static_cast<char>(text[1] | 0x20) : '\0';
    const Integer marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (marked && (base == marked || base == 0)) {
        text.remove_prefix(2);
        if (text.starts_with('_')) text.remove_prefix(1);
        base = marked;
    } else if (base == 0) {
        base = 10;
        if (text.size() > 1 && text[0] == '0' && text.find_first_not_of("0_") != text.npos) return std::nullopt;
    }
    const auto digits = without_underscores(text, base);
    if (!digits || digits->empty()) return std::nullopt;
    Integer value = 0;
    for (const char c : *digits) {
        const int digit = digit_of(c);
        if (digit >= base) return std::nullopt;
        if (__builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, Integer{digit}, &value))
            refuse(runtime, "the number has more than 128 bits");
    }
    return negative ? -value : value;
}

// Python's float(text).
std::optional<double> parse_float(std::string_view text) {
    const auto digits = without_underscores(plain_digits(text), 10);
    if (!digits || digits->empty()) return std::nullopt;
    std::string lowered = *digits;
    std::ranges::transform(lowered, lowered.begin(),
                           [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); });
    const std::string_view size = std::string_view(lowered).substr(lowered[0] == '-' || lowered[0] == '+' ? 1 : 0);
    const bool named = size == "inf" || size == "infinity" || size == "nan";
    if (!named && lowered.find_first_not_of("0123456789.e+-") != lowered.npos) return std::nullopt;
    char* end = nullptr;
    const double value = std::strtod(lowered.c_str(), &end);
    if (end != lowered.c_str() + lowered.size()) return std::nullopt;
    return value;
}

Value whole(const Runtime& runtime, double number) {
    if (std::abs(number) >= 0x1p126) refuse(runtime, "the number has more than 128 bits");
    return Value::integer(static_cast<Integer>(number));
}

Value to_integer(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "int", arguments, {"default", "base"});
    const Value otherwise = parameters.get(0, Value::integer(0));
    const Integer base = parameters.integer(1, 10);
    if (value.is(Kind::undefined)) raise_undefined(runtime, value);
    if (value.is_integral()) return Value::integer(value.as_integer());
    if (value.is(Kind::floating)) {
        if (std::isinf(value.as_floating())) refuse(runtime, "infinity is no int");
        return std::isnan(value.as_floating()) ? otherwise : whole(runtime, value.as_floating());
    }
    if (!value.is_string()) return otherwise;
    if (base == 0 || (base >= 2 && base <= 36))
        if (const auto number = parse_integer(runtime, value.as_text(), base)) return Value::integer(*number);
    const auto number = parse_float(value.as_text());
    return number && std::isfinite(*number) ? whole(runtime, *number) : otherwise;
}

Value to_float(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "float", arguments, {"default"});
    const Value otherwise = parameters.get(0, Value::floating(0));
    if (value.is(Kind::undefined)) raise_undefined(runtime, value);
    if (value.is_number()) return Value::floating(value.number());
    if (!value.is_string()) return otherwise;
    const auto number = parse_float(value.as_text());
    return number ? Value::floating(*number) : otherwise;
}

Value absolute(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters none(runtime, "abs", arguments, {});
    if (value.is(Kind::undefined)) raise_undefined(runtime, value);
    if (value.is(Kind::floating)) return Value::floating(std::abs(value.as_floating()));
    if (!value.is_integral()) refuse(runtime, "abs needs a number, not a ", type_name(value));
    return value.as_integer() < 0 ? negate(runtime, value) : Value::integer(value.as_integer());
}

Integer power_of_ten(Integer exponent) {
    Integer power = 1;
    for (; exponent > 0; --exponent) power *= 10;
    return power;
}

// To a multiple of 10^digits, a half to the even one.
Integer round_integer(const Runtime& runtime, Integer number, Integer digits) {
    constexpr Integer kMost = 38;  // 10^39 is more than twice any number
    if (digits > kMost) return 0;
    const Integer unit = power_of_ten(digits);
    const Integer rest = number % unit + (number % unit < 0 ? unit : 0);
    // In whole units, so that the numbers near the ends do not overflow before they are rounded.
    const Integer down = number / unit - (number < 0 && rest != 0 ? 1 : 0);
    const bool up = rest > unit - rest || (rest == unit - rest && down % 2 != 0);
    Integer rounded = 0;
    if (__builtin_mul_overflow(up ? down + 1 : down, unit, &rounded))
        refuse(runtime, "the number has more than 128 bits");
    return rounded;
}

// Python rounds the number that the float is, not its digits: through its exact decimals.
double round_float(double number, Integer precision) {
    if (!std::isfinite(number) || precision > 300) return number;
    if (precision < -310) return std::copysign(0.0, number);
    if (precision < 0) {
        const double unit = std::pow(10.0, static_cast<double>(-precision));
        return std::nearbyint(number / unit) * unit;
    }
    std::array<char, 640> digits;
    std::snprintf(digits.data(), digits.size(), "%.*f", static_cast<int>(precision), number);
    return std::strtod(digits.data(), nullptr);
}

Value round(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "round", arguments, {"precision", "method"});
    constexpr Integer kMost = 1000;  // more digits than any number has, before its point or behind it
    const Integer precision = std::clamp(parameters.integer(0, 0), -kMost, kMost);
    const std::string_view method = parameters.text(1, "common");
    if (method != "common" && method != "ceil" && method != "floor")
        refuse(runtime, "round knows the methods common, ceil and floor");
    if (value.is(Kind::undefined)) raise_undefined(runtime, value);
    if (!value.is_number()) refuse(runtime, "round needs a number, not a ", type_name(value));
    if (method == "common") {
        if (value.is(Kind::floating)) return Value::floating(round_float(value.as_floating(), precision));
        if (precision >= 0) return Value::integer(value.as_integer());
        return Value::integer(round_integer(runtime, value.as_integer(), -precision));
    }
    const Value power = calculate(runtime, Arithmetic::power, Value::integer(10), Value::integer(precision));
    const Value scaled = calculate(runtime, Arithmetic::multiply, value, power);
    if (!std::isfinite(scaled.number())) refuse(runtime, "infinity cannot be rounded");
    const Value whole_number = scaled.is_integral() ? scaled
                                                    : whole(runtime, method == "ceil" ? std::ceil(scaled.number())
                                                                                      : std::floor(scaled.number()));
    return calculate(runtime, Arithmetic::divide, whole_number, power);
}

constexpr std::array<Filter, 5> kFilters{{
    {"abs", absolute},
    {"filesizeformat", nullptr},
    {"float", to_float},
    {"int", to_integer},
    {"round", round},
}};
static_assert(is_sorted_by_name(kFilters));

}  // namespace

const Filter* find_number_filter(std::string_view name) {
    return find_by_name(kFilters, name);
}

}  // namespace llmc::jinja
