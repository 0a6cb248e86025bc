// The byte-level alphabet of GPT-2: every byte is one printable character, so that a vocabulary of texts can hold any
// bytes. Printable Latin-1 stands for itself; the other 68 bytes are U+0100, U+0101, .. in order.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace llmc {

// The character of a byte, in UTF-8.
std::string_view byte_letter(char byte);

// The bytes that `text` spells; nothing if a character is not in the alphabet.
std::optional<std::string> byte_level_to_bytes(std::string_view text);

}  // namespace llmc
