#include "llmc/tokenizer/text/byte_level.h"

#include <array>
#include <cstdint>

#include "llmc/core/utf8.h"

namespace llmc {

namespace {

constexpr int kCharacters = 256 + 68;

struct Alphabet {
    std::array<std::string, 256> character;  // of a byte, in UTF-8
    std::array<int, kCharacters> byte;       // of a code point, -1: none

    Alphabet() {
        byte.fill(-1);
        char32_t next = 256;
        for (int b = 0; b < 256; ++b) {
            const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
            const char32_t code_point = printable ? b : next++;
            append_utf8(character[b], code_point);
            byte[code_point] = b;
        }
    }
};

const Alphabet& alphabet() {
    static const Alphabet instance;
    return instance;
}

}  // namespace

std::string_view byte_letter(char byte) {
    return alphabet().character[static_cast<uint8_t>(byte)];
}

std::optional<std::string> byte_level_to_bytes(std::string_view text) {
    const Alphabet& letters = alphabet();
    std::string bytes;
    for (size_t offset = 0; offset < text.size();) {
        const int length = utf8_sequence(text.substr(offset)).length;
        const char32_t code_point = utf8_code_point(text.substr(offset, length));
        if (code_point >= kCharacters || letters.byte[code_point] < 0) return std::nullopt;
        bytes += static_cast<char>(letters.byte[code_point]);
        offset += length;
    }
    return bytes;
}

}  // namespace llmc
