// Numbers and texts laid out in a field.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "llmc/core/utf8.h"
#include "llmc/jinja/methods/format.h"
#include "llmc/jinja/operators/print.h"
#include "llmc/jinja/text/text.h"

namespace llmc::jinja {
namespace {

// Fields of numbers are short; a width of a million is a mistake or an attack.
constexpr size_t kMostWidth = 10'000;
constexpr int kMostPrecision = 1'000;

// Separates the digits of a whole number in groups of `size`, from the right.
std::string group(std::string_view digits, char separator, size_t size) {
    std::string grouped;
    for (size_t i = 0; i < digits.size(); ++i) {
        if (i > 0 && (digits.size() - i) % size == 0) grouped += separator;
        grouped += digits[i];
    }
    return grouped;
}

// A number before it is placed: sign, prefix (0x), digits before the point, the rest.
struct Layout {
    std::string sign, digits, rest;
};

std::string lay_out(Runtime& runtime, const Specification& specification, const Layout& layout, size_t group_size) {
    if (specification.width > kMostWidth)
        refuse(runtime, "a field of ", specification.width, " characters is too wide");
    std::string digits = layout.digits;
    const char separator = specification.grouping;
    const bool inside = specification.align == '=';
    if (separator) {
        const size_t others = layout.sign.size() + layout.rest.size();
        // Zeros that fill the field are grouped as well.
        while (inside && specification.fill == "0" &&
               digits.size() + (digits.size() - 1) / group_size + others < specification.width)
            digits.insert(0, 1, '0');
        digits = group(digits, separator, group_size);
    }
    digits += layout.rest;
    if (!inside) return pad(runtime, specification, layout.sign + digits, '>');
    Specification behind_sign = specification;
    behind_sign.width -= std::min(behind_sign.width, layout.sign.size());
    behind_sign.align = 0;
    return layout.sign + pad(runtime, behind_sign, digits, '>');
}

std::string sign_of(const Specification& specification, bool negative) {
    if (negative) return "-";
    return specification.sign == '-' ? "" : std::string(1, specification.sign);
}

std::string digits_of(unsigned __int128 number, unsigned base, bool capital) {
    const std::string_view symbols = capital ? "0123456789ABCDEF" : "0123456789abcdef";
    std::string digits;
    do digits.insert(0, 1, symbols[static_cast<size_t>(number % base)]);
    while ((number /= base) != 0);
    return digits;
}

[[noreturn]] void refuse_grouping(const Runtime& runtime, const Specification& specification) {
    refuse(runtime, "the grouping '", std::string(1, specification.grouping), "' does not fit the format '",
           std::string(1, specification.type), "'");
}

std::string print_float(const char* format, int precision, double number) {
    std::array<char, 400 + kMostPrecision> buffer;
    const int size = std::snprintf(buffer.data(), buffer.size(), format, precision, number);
    return {buffer.data(), static_cast<size_t>(std::min<int>(size, buffer.size() - 1))};
}

// A float without a type but with a precision: as %g, but with a digit behind the point, and sooner with an exponent.
std::string general_float(int precision, double number) {
    precision = std::max(precision, 1);
    const std::string scientific = print_float("%.*e", precision - 1, number);
    const int exponent = std::atoi(scientific.c_str() + scientific.find('e') + 1);
    if (exponent < -4 || exponent >= precision - 1) {
        const size_t mark = scientific.find('e');
        std::string digits = scientific.substr(0, mark);
        if (digits.find('.') != digits.npos) {
            digits.erase(digits.find_last_not_of('0') + 1);
            if (digits.ends_with('.')) digits.pop_back();
        }
        return digits + scientific.substr(mark);
    }
    std::string text = print_float("%.*g", precision, number);
    return text.find('.') == text.npos ? text + ".0" : text;
}

std::string magnitude(Runtime& runtime, const Specification& specification, double number) {
    const int precision = specification.precision < 0 ? 6 : specification.precision;
    if (precision > kMostPrecision) refuse(runtime, "a precision of ", precision, " digits is too large");
    const bool capital = specification.type == 'E' || specification.type == 'F' || specification.type == 'G';
    if (!std::isfinite(number)) return std::isnan(number) ? (capital ? "NAN" : "nan") : (capital ? "INF" : "inf");
    switch (specification.type) {
        case 'e':
            return print_float(specification.alternate ? "%#.*e" : "%.*e", precision, number);
        case 'E':
            return print_float(specification.alternate ? "%#.*E" : "%.*E", precision, number);
        case 'f':
        case 'F':
        case '%':
            return print_float(specification.alternate ? "%#.*f" : "%.*f", precision, number);
        case 'g':
        case 'n':
            return print_float(specification.alternate ? "%#.*g" : "%.*g", precision, number);
        case 'G':
            return print_float(specification.alternate ? "%#.*G" : "%.*G", precision, number);
        case 0:
            return specification.precision < 0 ? represent_float(number) : general_float(precision, number);
        default:
            refuse(runtime, "the format '", std::string(1, specification.type), "' does not fit a float");
    }
}

}  // namespace

std::string pad(Runtime& runtime, const Specification& specification, std::string_view text, char own_align) {
    const size_t length = text::length(text);
    if (length >= specification.width) return std::string(text);
    const size_t missing = specification.width - length;
    runtime.check_size(text.size() + missing * specification.fill.size());
    runtime.work(missing);
    const char align = specification.align ? specification.align : own_align;
    const size_t before = align == '>' ? missing : align == '^' ? missing / 2 : 0;
    std::string padded;
    for (size_t i = 0; i < before; ++i) padded += specification.fill;
    padded += text;
    for (size_t i = before; i < missing; ++i) padded += specification.fill;
    return padded;
}

std::string character_of(Runtime& runtime, Integer code_point) {
    if (code_point < 0 || code_point > 0x10FFFF || (code_point >= 0xD800 && code_point < 0xE000))
        refuse(runtime, "no character has the number ", represent_integer(code_point));
    std::string text;
    append_utf8(text, static_cast<char32_t>(code_point));
    return text;
}

std::string format_integer(Runtime& runtime, const Specification& specification, Integer number) {
    const bool negative = number < 0;
    const auto size = negative ? -static_cast<unsigned __int128>(number) : static_cast<unsigned __int128>(number);
    Layout layout{sign_of(specification, negative), {}, {}};
    size_t group_size = 3;
    switch (specification.type) {
        case 0:
        case 'd':
        case 'n':
            layout.digits = digits_of(size, 10, false);
            break;
        case 'b':
            layout.digits = digits_of(size, 2, false);
            break;
        case 'o':
            layout.digits = digits_of(size, 8, false);
            break;
        case 'x':
        case 'X':
            layout.digits = digits_of(size, 16, specification.type == 'X');
            break;
        default:
            refuse(runtime, "the format '", std::string(1, specification.type), "' does not fit an int");
    }
    if (specification.type == 'b' || specification.type == 'o' || (specification.type | 0x20) == 'x') {
        group_size = 4;
        if (specification.alternate) (layout.sign += '0') += specification.type;
        if (specification.grouping == ',') refuse_grouping(runtime, specification);
    }
    if (specification.grouping && specification.type == 'n') refuse_grouping(runtime, specification);
    if (specification.precision > kMostPrecision)
        refuse(runtime, "a precision of ", specification.precision, " digits is too large");
    while (static_cast<int>(layout.digits.size()) < specification.precision) layout.digits.insert(0, 1, '0');
    return lay_out(runtime, specification, layout, group_size);
}

std::string format_float(Runtime& runtime, const Specification& specification, double number) {
    if (specification.grouping && specification.type == 'n') refuse_grouping(runtime, specification);
    const bool percent = specification.type == '%';
    const std::string text = magnitude(runtime, specification, std::abs(percent ? number * 100 : number));
    const size_t point = std::min(text.find_first_not_of("0123456789"), text.size());
    Layout layout{sign_of(specification, std::signbit(number) && !std::isnan(number)), text.substr(0, point),
                  text.substr(point) + (percent ? "%" : "")};
    Specification without_digits = specification;
    if (layout.digits.empty()) without_digits.grouping = 0;  // inf, nan
    return lay_out(runtime, without_digits, layout, 3);
}

}  // namespace llmc::jinja
