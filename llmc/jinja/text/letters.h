// Upper and lower case and the kinds of characters, as Python's str methods see them (Unicode, by utf8proc).
#pragma once

#include <string>
#include <string_view>

namespace llmc::jinja::text {

// With Unicode's mappings to several characters: upper("ß") is "SS".
std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);  // the first character in title case, the others in lower case
std::string title(std::string_view text);       // the first letter of each run of letters

bool is_alphabetic(char32_t code_point);
bool is_decimal(char32_t code_point);
bool is_digit(char32_t code_point);
bool is_numeric(char32_t code_point);
bool is_upper(char32_t code_point);
bool is_lower(char32_t code_point);
bool is_title(char32_t code_point);
bool is_printable(char32_t code_point);
bool begins_identifier(char32_t code_point);
bool continues_identifier(char32_t code_point);
// Whether a text has a letter of that case, and none of another.
bool is_capital(std::string_view text);
bool is_small(std::string_view text);
// The value of a decimal digit of any script, or -1.
int digit_value(char32_t code_point);
bool is_word(char32_t code_point);  // \w of Python's regular expressions

}  // namespace llmc::jinja::text
