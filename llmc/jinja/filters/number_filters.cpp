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
#include "llmc/jinja/text/text.h"

namespace llmc::jinja {
namespace {

// Digits with single underscores between them, which go; nothing if there are others.
std::optional<std::string> without_underscores(std::string_view text) {
    std::string digits;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '_') {
            digits += text[i];
            continue;
        }
        const auto is_digit = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
        if (i == 0 || i + 1 == text.size() || !is_digit(text[i - 1]) || !is_digit(text[i + 1])) return std::nullopt;
    }
    return digits;
}

// Python's int(text, base); nothing: it is none.
std::optional<Integer> parse_integer(const Runtime& runtime, std::string_view text, Integer base) {
    text = text::strip_right(text::strip_left(text));
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
    const auto digits = without_underscores(text);
    if (!digits || digits->empty()) return std::nullopt;
    Integer value = 0;
    for (const char c : *digits) {
        const int letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z' ? (c | 0x20) - 'a' + 10 : 99;
        const int digit = c >= '0' && c <= '9' ? c - '0' : letter;
        if (digit >= base) return std::nullopt;
        if (__builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, Integer{digit}, &value))
            refuse(runtime, "the number has more than 128 bits");
    }
    return negative ? -value : value;
}

// Python's float(text).
std::optional<double> parse_float(std::string_view text) {
    const auto digits = without_underscores(text::strip_right(text::strip_left(text)));
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

Integer power_of_ten(const Runtime& runtime, Integer exponent) {
    if (exponent > 37) refuse(runtime, "round needs a precision of at most 37 digits");
    Integer power = 1;
    for (; exponent > 0; --exponent) power *= 10;
    return power;
}

// To a multiple of 10^digits, a half to the even one.
Integer round_integer(const Runtime& runtime, Integer number, Integer digits) {
    if (digits > 37) return 0;
    const Integer unit = power_of_ten(runtime, digits), rest = (number % unit + unit) % unit;
    const Integer down = number - rest;
    const bool up = 2 * rest > unit || (2 * rest == unit && (down / unit) % 2 != 0);
    return up ? down + unit : down;
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
    const Integer precision = parameters.integer(0, 0);
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

Value file_size(Runtime& runtime, const Value& value, const Arguments& arguments) {
    const Parameters parameters(runtime, "filesizeformat", arguments, {"binary"});
    std::optional<double> bytes;
    if (value.is_number()) bytes = value.number();
    if (value.is_string()) bytes = parse_float(value.as_text());
    if (!bytes) refuse(runtime, "filesizeformat needs a number, not a ", type_name(value));
    const bool binary = parameters.truth(0);
    const double base = binary ? 1024 : 1000;
    if (*bytes == 1) return Value::string("1 Byte");
    if (std::isnan(*bytes)) refuse(runtime, "filesizeformat needs a number, not nan");
    if (*bytes < base) return runtime.string(represent_integer(whole(runtime, *bytes).as_integer()) + " Bytes");
    constexpr std::array<char, 8> kPrefixes{'k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'};
    double unit = base * base;
    size_t i = 0;
    for (; i + 1 < kPrefixes.size() && *bytes >= unit; ++i) unit *= base;
    std::array<char, 400> number;
    std::snprintf(number.data(), number.size(), "%.1f ", base * *bytes / unit);
    std::string text = number.data();
    text += binary && i == 0 ? 'K' : kPrefixes[i];
    return runtime.string(text + (binary ? "iB" : "B"));
}

constexpr std::array<Filter, 5> kFilters{{
    {"abs", absolute},
    {"filesizeformat", file_size},
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
