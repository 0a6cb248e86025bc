// The letter of an option: A for the first of several.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace llmc {

inline constexpr size_t kMostOptions = 26;

constexpr char letter_of(size_t option) {
    return static_cast<char>('A' + option);
}

// The option that an answer names, as a position in 0 .. n_options-1; nothing if it names none. In this order:
//
//   the answer begins with a letter:              "B", "(b) 12", "B. Paris", "**B**"
//   a letter behind "answer is" or "answer":      "... so the answer is (B)."
//   the first letter in brackets:                 "I choose (B) because ..."
//   the first capital that stands alone:          "Option B fits"
//
// Only the letters of options count. A lower-case letter counts before a closing bracket or quote, a full stop, a colon
// or a star, and as the whole answer.
// "A" and "I" before a blank and another word are words of English.
std::optional<size_t> answer_choice(std::string_view answer, size_t n_options);

}  // namespace llmc
