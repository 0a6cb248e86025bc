#include "llmc/metrics/numeric.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <vector>

namespace llmc {
namespace {

constexpr std::string_view kMark = "####";
constexpr std::string_view kMinusSigns[] = {"-", "\xE2\x88\x92"};                             // - and U+2212
constexpr std::string_view kCurrencySigns[] = {"$", "\xE2\x82\xAC", "\xC2\xA3", "\xC2\xA5"};  // $, euro, pound, yen

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_digit_at(std::string_view text, size_t at) {
    return at < text.size() && is_digit(text[at]);
}

// Takes one of the signs from the end of the text.
template <size_t N>
bool take_from_end(std::string_view& text, const std::string_view (&signs)[N]) {
    for (const std::string_view sign : signs) {
        if (!text.ends_with(sign)) continue;
        text.remove_suffix(sign.size());
        return true;
    }
    return false;
}

// Whether what stands before a number makes it negative.
bool ends_in_minus(std::string_view before) {
    take_from_end(before, kCurrencySigns);
    if (!take_from_end(before, kMinusSigns)) return false;
    take_from_end(before, kCurrencySigns);
    if (before.empty()) return true;
    const auto last = static_cast<unsigned char>(before.back());
    return !std::isalnum(last) && last != ')' && last != ']' && last != '}' && last < 0x80;
}

// The digits before the decimal point from `at` on, without their commas. Moves `at` behind them.
std::string take_whole(std::string_view text, size_t& at) {
    std::string digits;
    while (is_digit_at(text, at)) digits += text[at++];
    if (digits.empty() || digits.size() > 3) return digits;
    const auto group_follows = [&] {
        return at < text.size() && text[at] == ',' && is_digit_at(text, at + 1) && is_digit_at(text, at + 2) &&
               is_digit_at(text, at + 3) && !is_digit_at(text, at + 4);
    };
    while (group_follows()) {
        digits += text.substr(at + 1, 3);
        at += 4;
    }
    return digits;
}

// The number that begins at `at`, in its shortest form. Moves `at` behind it.
std::string take_number(std::string_view text, size_t& at) {
    const bool negative = ends_in_minus(text.substr(0, at));
    std::string number = take_whole(text, at);
    number.erase(0, std::min(number.find_first_not_of('0'), number.size()));
    if (number.empty()) number = "0";
    if (at < text.size() && text[at] == '.' && is_digit_at(text, at + 1)) {
        size_t end = ++at;
        while (is_digit_at(text, end)) ++end;
        const std::string_view decimals = text.substr(at, end - at);
        at = end;
        const size_t last = decimals.find_last_not_of('0');
        if (last != decimals.npos) number.append(".").append(decimals.substr(0, last + 1));
    }
    return negative && number != "0" ? "-" + number : number;
}

bool begins_number(std::string_view text, size_t at) {
    if (text[at] == '.') return is_digit_at(text, at + 1) && (at == 0 || !is_digit(text[at - 1]));
    return is_digit(text[at]);
}

std::optional<std::string> first_number(std::string_view text) {
    for (size_t at = 0; at < text.size(); ++at)
        if (begins_number(text, at)) return take_number(text, at);
    return std::nullopt;
}

std::optional<std::string> last_number(std::string_view text) {
    std::optional<std::string> last;
    for (size_t at = 0; at < text.size();) {
        if (begins_number(text, at))
            last = take_number(text, at);
        else
            ++at;
    }
    return last;
}

}  // namespace

std::optional<std::string> answer_number(std::string_view text) {
    for (size_t mark = text.find(kMark); mark != text.npos; mark = text.find(kMark, mark + kMark.size())) {
        const std::string_view behind = text.substr(mark + kMark.size());
        if (auto number = first_number(behind.substr(0, behind.find('\n')))) return number;
    }
    return last_number(text);
}

}  // namespace llmc
