#include <cmath>
#include <limits>

#include "llmc/jinja/methods/format.h"
#include "llmc/jinja/operators/operators.h"
#include "llmc/jinja/operators/print.h"

namespace llmc::jinja {
namespace {

std::string_view symbol(Arithmetic operation) {
    switch (operation) {
        case Arithmetic::add:
            return "+";
        case Arithmetic::subtract:
            return "-";
        case Arithmetic::multiply:
            return "*";
        case Arithmetic::divide:
            return "/";
        case Arithmetic::floor_divide:
            return "//";
        case Arithmetic::modulo:
            return "%";
        case Arithmetic::power:
            return "**";
    }
    return "?";
}

[[noreturn]] void too_large(const Runtime& runtime) {
    refuse(runtime, "the result is an integer of more than 128 bits");
}

void require_divisor(const Runtime& runtime, bool zero) {
    if (zero) refuse(runtime, "division by zero");
}

// Python rounds the quotient down, and the rest has the divisor's sign.
Integer floor_divide(const Runtime& runtime, Integer left, Integer right) {
    require_divisor(runtime, right == 0);
    if (right == -1) {
        Integer result;
        if (__builtin_sub_overflow(Integer{0}, left, &result)) too_large(runtime);
        return result;
    }
    const Integer quotient = left / right;
    return left % right != 0 && (left < 0) != (right < 0) ? quotient - 1 : quotient;
}

Integer modulo(const Runtime& runtime, Integer left, Integer right) {
    require_divisor(runtime, right == 0);
    if (right == -1) return 0;
    const Integer rest = left % right;
    return rest != 0 && (rest < 0) != (right < 0) ? rest + right : rest;
}

double float_modulo(double left, double right) {
    const double rest = std::fmod(left, right);
    if (rest == 0) return std::copysign(0.0, right);
    return (rest < 0) != (right < 0) ? rest + right : rest;
}

// From the rest, as Python does: the quotient itself may round up to a whole number.
double float_floor_divide(double left, double right) {
    const double rest = float_modulo(left, right);
    const double quotient = (left - rest) / right;
    if (quotient == 0) return std::copysign(0.0, left / right);
    const double down = std::floor(quotient);
    return quotient - down > 0.5 ? down + 1 : down;
}

// left / right, rounded once, to the nearest double: as Python divides ints.
double quotient(Integer left, Integer right) {
    constexpr Integer kExact = Integer{1} << 53;
    if (-kExact <= left && left <= kExact && -kExact <= right && right <= kExact)
        return static_cast<double>(left) / static_cast<double>(right);
    using Unsigned = unsigned __int128;
    const auto size = [](Integer number) { return number < 0 ? -static_cast<Unsigned>(number) : Unsigned(number); };
    // Binary digits of the quotient, more than a double has; the last one also stands for all that would follow.
    const Unsigned divisor = size(right);
    Unsigned digits = size(left) / divisor, rest = size(left) % divisor;
    int exponent = 0;
    for (; rest != 0 && digits >> 64 == 0; --exponent) {
        const bool one = rest >= divisor - rest;
        digits = digits << 1 | (one ? 1 : 0);
        rest = one ? rest - (divisor - rest) : 2 * rest;
    }
    if (rest != 0) digits |= 1;
    const double result = std::ldexp(static_cast<double>(digits), exponent);
    return (left < 0) != (right < 0) ? -result : result;
}

Value power(const Runtime& runtime, Integer base, Integer exponent) {
    if (exponent < 0) {
        if (base == 0) refuse(runtime, "zero cannot be raised to a negative power");
        return Value::floating(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
    }
    Integer result = 1, square = base;
    while (exponent > 0) {
        if ((exponent & 1) != 0 && __builtin_mul_overflow(result, square, &result)) too_large(runtime);
        exponent >>= 1;
        if (exponent > 0 && __builtin_mul_overflow(square, square, &square)) too_large(runtime);
    }
    return Value::integer(result);
}

Value calculate_integers(const Runtime& runtime, Arithmetic operation, Integer left, Integer right) {
    Integer result = 0;
    bool overflow = false;
    switch (operation) {
        case Arithmetic::add:
            overflow = __builtin_add_overflow(left, right, &result);
            break;
        case Arithmetic::subtract:
            overflow = __builtin_sub_overflow(left, right, &result);
            break;
        case Arithmetic::multiply:
            overflow = __builtin_mul_overflow(left, right, &result);
            break;
        case Arithmetic::divide:
            require_divisor(runtime, right == 0);
            return Value::floating(quotient(left, right));
        case Arithmetic::floor_divide:
            result = floor_divide(runtime, left, right);
            break;
        case Arithmetic::modulo:
            result = modulo(runtime, left, right);
            break;
        case Arithmetic::power:
            return power(runtime, left, right);
    }
    if (overflow) too_large(runtime);
    return Value::integer(result);
}

Value calculate_floats(const Runtime& runtime, Arithmetic operation, double left, double right) {
    switch (operation) {
        case Arithmetic::add:
            return Value::floating(left + right);
        case Arithmetic::subtract:
            return Value::floating(left - right);
        case Arithmetic::multiply:
            return Value::floating(left * right);
        case Arithmetic::divide:
            require_divisor(runtime, right == 0);
            return Value::floating(left / right);
        case Arithmetic::floor_divide:
            require_divisor(runtime, right == 0);
            return Value::floating(float_floor_divide(left, right));
        case Arithmetic::modulo:
            require_divisor(runtime, right == 0);
            return Value::floating(float_modulo(left, right));
        case Arithmetic::power: {
            if (left == 0 && right < 0) refuse(runtime, "zero cannot be raised to a negative power");
            if (left < 0 && std::isfinite(left) && std::isfinite(right) && std::trunc(right) != right)
                refuse(runtime, "a negative number to a power that is not whole is a complex number");
            const double result = std::pow(left, right);
            if (std::isinf(result) && std::isfinite(left) && std::isfinite(right))
                refuse(runtime, "the power is too large");
            return Value::floating(result);
        }
    }
    return {};
}

// Markup escapes what joins it.
Value add_strings(Runtime& runtime, const Value& left, const Value& right) {
    if (left.is_safe() == right.is_safe())
        return Value::string(runtime.join(left.as_text(), right.as_text()), left.is_safe());
    const std::string_view escaped = escape_html(runtime, left.is_safe() ? right.as_text() : left.as_text());
    return Value::string(
        left.is_safe() ? runtime.join(left.as_text(), escaped) : runtime.join(escaped, right.as_text()), true);
}

Value add_sequences(Runtime& runtime, const Value& left, const Value& right) {
    const auto first = left.as_items(), second = right.as_items();
    auto* items = runtime.array<Value>(first.size() + second.size());
    std::uninitialized_copy(first.begin(), first.end(), items);
    std::uninitialized_copy(second.begin(), second.end(), items + first.size());
    runtime.work((first.size() + second.size()) * sizeof(Value));
    const std::span<const Value> all(items, first.size() + second.size());
    return left.is(Kind::list) ? Value::list(all) : Value::tuple(all);
}

Value repeat(Runtime& runtime, const Value& value, Integer count) {
    const size_t size = value.is_string() ? value.as_text().size() : value.as_items().size() * sizeof(Value);
    if (count < 0 || size == 0) count = 0;
    if (count > std::numeric_limits<int64_t>::max() / static_cast<Integer>(std::max<size_t>(size, 1)))
        runtime.check_size(SIZE_MAX);
    const auto times = static_cast<size_t>(count);
    runtime.check_size(size * times);
    runtime.work(size * times);
    if (value.is_string()) {
        char* text = runtime.array<char>(size * times);
        for (size_t i = 0; i < times; ++i) value.as_text().copy(text + i * size, size);
        return Value::string({text, size * times}, value.is_safe());
    }
    const auto items = value.as_items();
    auto* repeated = runtime.array<Value>(items.size() * times);
    for (size_t i = 0; i < times; ++i) std::uninitialized_copy(items.begin(), items.end(), repeated + i * items.size());
    const std::span<const Value> all(repeated, items.size() * times);
    return value.is(Kind::list) ? Value::list(all) : Value::tuple(all);
}

bool repeats(const Value& value) {
    return value.is_string() || value.is_sequence();
}

}  // namespace

Value calculate(Runtime& runtime, Arithmetic operation, const Value& left, const Value& right) {
    if (left.is_integral() && right.is_integral())
        return calculate_integers(runtime, operation, left.as_integer(), right.as_integer());
    if (left.is_number() && right.is_number())
        return calculate_floats(runtime, operation, left.number(), right.number());
    if (operation == Arithmetic::modulo && left.is_string()) return format_percent(runtime, left, right);
    if (left.is(Kind::undefined)) raise_undefined(runtime, left);
    if (right.is(Kind::undefined)) raise_undefined(runtime, right);
    if (operation == Arithmetic::add) {
        if (left.is_string() && right.is_string()) return add_strings(runtime, left, right);
        if (left.is_sequence() && left.kind() == right.kind()) return add_sequences(runtime, left, right);
    }
    if (operation == Arithmetic::multiply) {
        if (repeats(left) && right.is_integral()) return repeat(runtime, left, right.as_integer());
        if (left.is_integral() && repeats(right)) return repeat(runtime, right, left.as_integer());
    }
    refuse(runtime, "there is no ", type_name(left), " ", symbol(operation), " ", type_name(right));
}

Value negate(Runtime& runtime, const Value& value) {
    if (value.is_integral()) return calculate_integers(runtime, Arithmetic::subtract, 0, value.as_integer());
    if (value.is(Kind::floating)) return Value::floating(-value.as_floating());
    if (value.is(Kind::undefined)) raise_undefined(runtime, value);
    refuse(runtime, "there is no -", type_name(value));
}

Value plus(Runtime& runtime, const Value& value) {
    if (value.is_integral()) return Value::integer(value.as_integer());
    if (value.is(Kind::floating)) return value;
    if (value.is(Kind::undefined)) raise_undefined(runtime, value);
    refuse(runtime, "there is no +", type_name(value));
}

}  // namespace llmc::jinja
