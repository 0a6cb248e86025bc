// UTF-8, a sequence at a time: a character, bytes that can never become one, or the beginning of one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace llmc {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

enum class Utf8 {
    valid,       // one character
    invalid,     // bytes that nothing can complete; together they become one U+FFFD
    incomplete,  // the beginning of a character, cut off by the end of the text
};

struct Utf8Sequence {
    Utf8 kind;
    int length;  // in bytes
};

// What `text`, which is not empty, begins with. Ill-formed bytes are grouped as Unicode recommends ("substitution of
// maximal subparts"), which is what Rust's from_utf8_lossy and Python's errors="replace" do.
Utf8Sequence utf8_sequence(std::string_view text);

// The character of a well-formed text that begins at `begin`, or that ends at `end`.
std::string_view character_at(std::string_view text, size_t begin);
std::string_view character_before(std::string_view text, size_t end);

// Offset of the first byte that is not part of well-formed UTF-8, or npos.
size_t find_invalid_utf8(std::string_view text);

// The code point of one valid sequence.
char32_t utf8_code_point(std::string_view sequence);
void append_utf8(std::string& text, char32_t code_point);

// Moves complete characters from `bytes` to the end of `text`, U+FFFD for the ill-formed ones. The beginning of a
// character at the end of `bytes` stays there, unless `last`: nothing will complete it.
void move_utf8_lossy(std::string& bytes, std::string& text, bool last);

// Unicode's White_Space property.
bool is_white_space(char32_t code_point);

}  // namespace llmc
