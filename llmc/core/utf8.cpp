#include "llmc/core/utf8.h"

#include <cstdint>

namespace llmc {

namespace {

uint8_t byte_at(std::string_view text, size_t offset) {
    return static_cast<uint8_t>(text[offset]);
}

}  // namespace

Utf8Sequence utf8_sequence(std::string_view text) {
    const uint8_t lead = byte_at(text, 0);
    if (lead < 0x80) return {Utf8::valid, 1};
    // The second byte's range excludes overlong forms (E0, F0), surrogates (ED) and what lies past U+10FFFF (F4).
    uint8_t low = 0x80, high = 0xBF;
    int length = 0;
    if (lead >= 0xC2 && lead <= 0xDF) {
        length = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        length = 3;
        if (lead == 0xE0) low = 0xA0;
        if (lead == 0xED) high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        length = 4;
        if (lead == 0xF0) low = 0x90;
        if (lead == 0xF4) high = 0x8F;
    } else {
        return {Utf8::invalid, 1};
    }
    for (int i = 1; i < length; ++i) {
        if (static_cast<size_t>(i) == text.size()) return {Utf8::incomplete, i};
        const uint8_t byte = byte_at(text, i);
        if (byte < low || byte > high) return {Utf8::invalid, i};
        low = 0x80, high = 0xBF;
    }
    return {Utf8::valid, length};
}

std::string_view character_at(std::string_view text, size_t begin) {
    return text.substr(begin, utf8_sequence(text.substr(begin)).length);
}

std::string_view character_before(std::string_view text, size_t end) {
    size_t begin = end - 1;
    while ((text[begin] & 0xC0) == 0x80) --begin;
    return text.substr(begin, end - begin);
}

size_t find_invalid_utf8(std::string_view text) {
    for (size_t offset = 0; offset < text.size();) {
        const auto [kind, length] = utf8_sequence(text.substr(offset));
        if (kind != Utf8::valid) return offset;
        offset += length;
    }
    return std::string_view::npos;
}

char32_t utf8_code_point(std::string_view sequence) {
    const uint8_t lead = byte_at(sequence, 0);
    if (sequence.size() == 1) return lead;
    char32_t code_point = lead & (0x7F >> sequence.size());
    for (size_t i = 1; i < sequence.size(); ++i) code_point = code_point << 6 | (byte_at(sequence, i) & 0x3F);
    return code_point;
}

void append_utf8(std::string& text, char32_t code_point) {
    const auto tail = [&](int shift) { text += static_cast<char>(0x80 | (code_point >> shift & 0x3F)); };
    if (code_point < 0x80) {
        text += static_cast<char>(code_point);
    } else if (code_point < 0x800) {
        text += static_cast<char>(0xC0 | code_point >> 6);
        tail(0);
    } else if (code_point < 0x10000) {
        text += static_cast<char>(0xE0 | code_point >> 12);
        tail(6), tail(0);
    } else {
        text += static_cast<char>(0xF0 | code_point >> 18);
        tail(12), tail(6), tail(0);
    }
}

void move_utf8_lossy(std::string& bytes, std::string& text, bool last) {
    size_t offset = 0;
    while (offset < bytes.size()) {
        const auto [kind, length] = utf8_sequence(std::string_view(bytes).substr(offset));
        if (kind == Utf8::incomplete && !last) break;
        text += kind == Utf8::valid ? std::string_view(bytes).substr(offset, length) : kReplacementCharacter;
        offset += length;
    }
    bytes.erase(0, offset);
}

bool is_white_space(char32_t c) {
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

}  // namespace llmc
