#include "llmc/jinja/text/letters.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "llmc/core/utf8.h"
#include "llmc/jinja/text/text.h"

namespace llmc::jinja::text {
namespace {

constexpr char32_t kCapitalSigma = 0x3A3, kSmallSigma = 0x3C3, kFinalSigma = 0x3C2;
constexpr char32_t kSmallIota = 0x3B9, kIotaBelow = 0x345;
constexpr char32_t kDottedCapitalI = 0x130, kDotAbove = 0x307;
constexpr char32_t kSharpS = 0xDF;

utf8proc_int32_t point(char32_t c) {
    return static_cast<utf8proc_int32_t>(c);
}
utf8proc_category_t category(char32_t c) {
    return utf8proc_category(point(c));
}
bool within(char32_t c, char32_t first, char32_t last) {
    return c >= first && c <= last;
}

char32_t simple_upper(char32_t c) {
    return static_cast<char32_t>(utf8proc_toupper(point(c)));
}
char32_t simple_lower(char32_t c) {
    return static_cast<char32_t>(utf8proc_tolower(point(c)));
}

// Unicode's full case folding of one character: up to three.
struct Folded {
    std::array<utf8proc_int32_t, 4> points;
    size_t size;
    std::span<const utf8proc_int32_t> all() && = delete;  // the span would outlive the points
    std::span<const utf8proc_int32_t> all() const& { return std::span(points).first(size); }
};
Folded fold(char32_t c) {
    Folded folded{};
    int boundary = 0;
    const auto size =
        utf8proc_decompose_char(point(c), folded.points.data(), folded.points.size(), UTF8PROC_CASEFOLD, &boundary);
    if (size >= 1 && size <= static_cast<utf8proc_ssize_t>(folded.points.size())) {
        folded.size = static_cast<size_t>(size);
    } else {
        folded.points[0] = point(c);
        folded.size = 1;
    }
    return folded;
}

// What has no single capital letter (ligatures, sharp s, Greek with marks) is the capitals of what it folds to.
void append_upper(std::string& text, char32_t c) {
    if (c >= 0x80 && category(c) != UTF8PROC_CATEGORY_LU) {
        const Folded folded = fold(c);
        if (folded.size > 1) {
            for (const auto part : folded.all()) append_utf8(text, simple_upper(static_cast<char32_t>(part)));
            return;
        }
    }
    append_utf8(text, simple_upper(c));
}

void append_title(std::string& text, char32_t c) {
    const auto single = static_cast<char32_t>(utf8proc_totitle(point(c)));
    const Folded folded = fold(c);
    const bool capital = category(c) == UTF8PROC_CATEGORY_LU || category(c) == UTF8PROC_CATEGORY_LT;
    if (folded.size == 1 || capital || (single != c && c != kSharpS)) return append_utf8(text, single);
    append_utf8(text, simple_upper(static_cast<char32_t>(folded.points[0])));
    for (const auto part : folded.all().subspan(1)) {
        const auto rest = static_cast<char32_t>(part);
        append_utf8(text, rest == kSmallIota ? kIotaBelow : rest);
    }
}

bool is_cased(char32_t c) {
    return is_upper(c) || is_lower(c) || is_title(c);
}

// What stands between letters without ending a word: marks, apostrophes, dots, format characters.
bool is_case_ignorable(char32_t c) {
    switch (category(c)) {
        case UTF8PROC_CATEGORY_MN:
        case UTF8PROC_CATEGORY_ME:
        case UTF8PROC_CATEGORY_CF:
        case UTF8PROC_CATEGORY_LM:
        case UTF8PROC_CATEGORY_SK:
            return true;
        default:
            break;
    }
    constexpr std::u32string_view kInside =
        U"'.:\u00B7\u0387\u055F\u05F4\u2018\u2019\u2024\u2027\uFE13\uFE52\uFE55\uFF07\uFF0E\uFF1A";
    return kInside.find(c) != kInside.npos;
}

// Whether the first character that counts, of text walked from one end, is a letter with case.
bool letter_follows(std::string_view text) {
    while (!text.empty()) {
        const Character c = first_character(text);
        if (!is_case_ignorable(c.code_point)) return is_cased(c.code_point);
        text.remove_prefix(c.bytes);
    }
    return false;
}
bool letter_precedes(std::string_view text) {
    while (!text.empty()) {
        const size_t bytes = last_character_bytes(text);
        const char32_t c = first_character(text.substr(text.size() - bytes)).code_point;
        if (!is_case_ignorable(c)) return is_cased(c);
        text.remove_suffix(bytes);
    }
    return false;
}

// The character of `text` at `at`, in lower case; a sigma at the end of a word has its own form.
void append_lower(std::string& lowered, std::string_view text, size_t at, Character c) {
    if (c.code_point == kCapitalSigma) {
        const bool final = letter_precedes(text.substr(0, at)) && !letter_follows(text.substr(at + c.bytes));
        append_utf8(lowered, final ? kFinalSigma : kSmallSigma);
    } else if (c.code_point == kDottedCapitalI) {
        append_utf8(lowered, U'i');
        append_utf8(lowered, kDotAbove);
    } else {
        append_utf8(lowered, simple_lower(c.code_point));
    }
}

// Calls `map(result, at, character)` for each character. Bytes that are not UTF-8 stay.
template <class Map>
std::string map_characters(std::string_view text, Map map) {
    std::string result;
    result.reserve(text.size());
    for (size_t at = 0; at < text.size();) {
        const Character c = first_character(text.substr(at));
        if (c.bytes == 1 && c.code_point >= 0x80)
            result += text[at];
        else
            map(result, at, c);
        at += c.bytes;
    }
    return result;
}

// test: of a letter of that case; other: of one of the other case.
bool in_case(std::string_view text, bool (*test)(char32_t), bool (*other)(char32_t)) {
    bool found = false;
    while (!text.empty()) {
        const Character c = first_character(text);
        if (is_title(c.code_point) || other(c.code_point)) return false;
        found = found || test(c.code_point);
        text.remove_prefix(c.bytes);
    }
    return found;
}

}  // namespace

std::string upper(std::string_view text) {
    return map_characters(text, [](std::string& result, size_t, Character c) { append_upper(result, c.code_point); });
}

std::string lower(std::string_view text) {
    return map_characters(text,
                          [&](std::string& result, size_t at, Character c) { append_lower(result, text, at, c); });
}

std::string capitalize(std::string_view text) {
    return map_characters(text, [&](std::string& result, size_t at, Character c) {
        if (at == 0)
            append_title(result, c.code_point);
        else
            append_lower(result, text, at, c);
    });
}

std::string title(std::string_view text) {
    bool inside = false;
    return map_characters(text, [&](std::string& result, size_t at, Character c) {
        if (inside)
            append_lower(result, text, at, c);
        else
            append_title(result, c.code_point);
        inside = is_cased(c.code_point);
    });
}

bool is_alphabetic(char32_t c) {
    return category(c) >= UTF8PROC_CATEGORY_LU && category(c) <= UTF8PROC_CATEGORY_LO;
}
bool is_decimal(char32_t c) {
    return category(c) == UTF8PROC_CATEGORY_ND;
}

// Decimal digits, and those in circles, brackets, above or below the line (Unicode's Numeric_Type=Digit).
bool is_digit(char32_t c) {
    if (is_decimal(c)) return true;
    constexpr std::array<std::array<char32_t, 2>, 20> kDigits{
        {{0xB2, 0xB3},     {0xB9, 0xB9},       {0x1369, 0x1371},   {0x19DA, 0x19DA},   {0x2070, 0x2070},
         {0x2074, 0x2079}, {0x2080, 0x2089},   {0x2460, 0x2468},   {0x2474, 0x247C},   {0x2488, 0x2490},
         {0x24EA, 0x24EA}, {0x24F5, 0x24FD},   {0x24FF, 0x24FF},   {0x2776, 0x277E},   {0x2780, 0x2788},
         {0x278A, 0x2792}, {0x10A40, 0x10A43}, {0x10E60, 0x10E68}, {0x11052, 0x1105A}, {0x1F100, 0x1F10A}}};
    return std::ranges::any_of(kDigits, [&](const auto& range) { return within(c, range[0], range[1]); });
}

// Every kind of number, and the Chinese characters that are numbers.
bool is_numeric(char32_t c) {
    if (category(c) >= UTF8PROC_CATEGORY_ND && category(c) <= UTF8PROC_CATEGORY_NO) return true;
    constexpr std::u32string_view kChinese =
        U"\u3405\u3483\u382A\u3B4D\u4E00\u4E03\u4E07\u4E09\u4E5D\u4E8C\u4E94\u4E96\u4EBF\u4EC0\u4EDF\u4EE8\u4F0D\u4F70"
        U"\u5104\u5146\u5169\u516B\u516D\u5341\u5343\u5344\u5345\u534C\u53C1\u53C2\u53C3\u53C4\u56DB\u58F1\u58F9\u5E7A"
        U"\u5EFE\u5EFF\u5F0C\u5F0D\u5F0E\u5F10\u62FE\u634C\u67D2\u6F06\u7396\u767E\u8086\u842C\u8CAE\u8CB3\u8D30\u9621"
        U"\u9646\u964C\u9678\u96F6\uF96B\uF973\uF978\uF9B2\uF9D1\uF9D3\uF9FD\U00020001\U00020064\U000200E2\U00020121"
        U"\U0002092A\U00020983\U0002098C\U0002099C\U00020AEA\U00020AFD\U00020B19\U00022390\U00022998\U00023B1B"
        U"\U0002626D\U0002F890";
    return kChinese.find(c) != kChinese.npos;
}

// Letters, and what looks like one: ordinals, modifiers, Roman numerals, letters in circles.
bool is_upper(char32_t c) {
    if (c < 0x80) return within(c, U'A', U'Z');
    return category(c) == UTF8PROC_CATEGORY_LU || within(c, 0x2160, 0x216F) || within(c, 0x24B6, 0x24CF) ||
           within(c, 0x1F130, 0x1F149) || within(c, 0x1F150, 0x1F169) || within(c, 0x1F170, 0x1F189);
}
bool is_lower(char32_t c) {
    if (c < 0x80) return within(c, U'a', U'z');
    constexpr std::array<std::array<char32_t, 2>, 24> kSmall{
        {{0xAA, 0xAA},       {0xBA, 0xBA},       {0x2B0, 0x2B8},     {0x2C0, 0x2C1},    {0x2E0, 0x2E4},
         {0x345, 0x345},     {0x37A, 0x37A},     {0x1D2C, 0x1D6A},   {0x1D78, 0x1D78},  {0x1D9B, 0x1DBF},
         {0x2071, 0x2071},   {0x207F, 0x207F},   {0x2090, 0x209C},   {0x2170, 0x217F},  {0x24D0, 0x24E9},
         {0x2C7C, 0x2C7D},   {0xA69C, 0xA69D},   {0xA770, 0xA770},   {0xA7F8, 0xA7F9},  {0xAB5C, 0xAB5F},
         {0x10780, 0x10780}, {0x10783, 0x10785}, {0x10787, 0x107B0}, {0x107B2, 0x107BA}}};
    return category(c) == UTF8PROC_CATEGORY_LL ||
           std::ranges::any_of(kSmall, [&](const auto& range) { return within(c, range[0], range[1]); });
}
bool is_title(char32_t c) {
    return category(c) == UTF8PROC_CATEGORY_LT;
}

bool is_capital(std::string_view text) {
    return in_case(text, is_upper, is_lower);
}
bool is_small(std::string_view text) {
    return in_case(text, is_lower, is_upper);
}

// Decimal digits stand in Unicode in whole runs from 0 to 9, some of them one behind the other.
int digit_value(char32_t c) {
    if (!is_decimal(c)) return -1;
    int before = 0;
    while (is_decimal(c - 1 - static_cast<char32_t>(before))) ++before;
    return before % 10;
}

bool is_printable(char32_t c) {
    switch (category(c)) {
        case UTF8PROC_CATEGORY_CC:
        case UTF8PROC_CATEGORY_CF:
        case UTF8PROC_CATEGORY_CS:
        case UTF8PROC_CATEGORY_CO:
        case UTF8PROC_CATEGORY_CN:
        case UTF8PROC_CATEGORY_ZL:
        case UTF8PROC_CATEGORY_ZP:
            return false;
        case UTF8PROC_CATEGORY_ZS:
            return c == U' ';
        default:
            return true;
    }
}

bool begins_identifier(char32_t c) {
    if (c < 0x80) return c == U'_' || within(c | 0x20, U'a', U'z');
    return is_alphabetic(c) || category(c) == UTF8PROC_CATEGORY_NL;
}

bool continues_identifier(char32_t c) {
    if (c < 0x80) return begins_identifier(c) || within(c, U'0', U'9');
    switch (category(c)) {
        case UTF8PROC_CATEGORY_MN:
        case UTF8PROC_CATEGORY_MC:
        case UTF8PROC_CATEGORY_ND:
        case UTF8PROC_CATEGORY_PC:
            return true;
        default:
            return begins_identifier(c);
    }
}

bool is_word(char32_t c) {
    return c == U'_' || is_alphabetic(c) || is_numeric(c);
}

}  // namespace llmc::jinja::text
