// Strings as Python's str has them: sequences of code points, kept in UTF-8. Positions and lengths count code points.
// Bytes that are not UTF-8 count one each and are left as they are.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace llmc::jinja::text {

struct Character {
    char32_t code_point;
    size_t bytes;
};

// The first character of a text that is not empty.
Character first_character(std::string_view text);
// The bytes of the last one.
size_t last_character_bytes(std::string_view text);

bool is_ascii(std::string_view text);
size_t length(std::string_view text);
// The byte at which character `index` begins; the size when there are fewer.
size_t byte_of(std::string_view text, size_t index);
// Characters [begin, end).
std::string_view cut(std::string_view text, size_t begin, size_t end);

// Python's str.isspace() of one character: what strip() and split() take away.
bool is_space(char32_t code_point);
std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);
// The same for any of the characters in `set`.
std::string_view strip_left(std::string_view text, std::string_view set);
std::string_view strip_right(std::string_view text, std::string_view set);

// Where `part` stands first in a text, in bytes, or npos: in time linear in both, whatever they are.
size_t find(std::string_view text, std::string_view part);

// Takes the first line off a text that is not empty, at any of Python's line boundaries; without its end, or with it.
std::string_view take_line(std::string_view& text, bool keep_end);

std::string replace(std::string_view text, std::string_view old_text, std::string_view new_text, size_t count);

}  // namespace llmc::jinja::text
