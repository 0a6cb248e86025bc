#include "llmc/jinja/text/text.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace llmc::jinja::text {
namespace {

bool continues(char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

// What a first byte announces; 1 for a byte that begins nothing.
size_t announced_bytes(unsigned char byte) {
    if (byte >= 0xF0 && byte < 0xF8) return 4;
    if (byte >= 0xE0) return byte < 0xF0 ? 3 : 1;
    return byte >= 0xC0 ? 2 : 1;
}

bool ends_line(char32_t c) {
    return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

// The text without the characters at its end for which `test` holds.
template <class Test>
std::string_view strip_right_while(std::string_view text, Test test) {
    while (!text.empty()) {
        const size_t bytes = last_character_bytes(text);
        if (!test(text.substr(text.size() - bytes))) break;
        text.remove_suffix(bytes);
    }
    return text;
}

template <class Test>
std::string_view strip_left_while(std::string_view text, Test test) {
    while (!text.empty()) {
        const size_t bytes = first_character(text).bytes;
        if (!test(text.substr(0, bytes))) break;
        text.remove_prefix(bytes);
    }
    return text;
}

bool is_blank(std::string_view character) {
    return is_space(first_character(character).code_point);
}

}  // namespace

Character first_character(std::string_view text) {
    const auto byte = static_cast<unsigned char>(text[0]);
    if (byte < 0x80) return {byte, 1};
    const size_t bytes = announced_bytes(byte);
    if (bytes == 1 || bytes > text.size()) return {byte, 1};
    char32_t code_point = byte & (0x7Fu >> bytes);
    for (size_t i = 1; i < bytes; ++i) {
        if (!continues(text[i])) return {byte, 1};
        code_point = code_point << 6 | (static_cast<unsigned char>(text[i]) & 0x3F);
    }
    return {code_point, bytes};
}

size_t last_character_bytes(std::string_view text) {
    for (size_t bytes = 1; bytes <= 4 && bytes <= text.size(); ++bytes) {
        const std::string_view tail = text.substr(text.size() - bytes);
        if (continues(tail[0])) continue;
        return first_character(tail).bytes == bytes ? bytes : 1;
    }
    return 1;
}

bool is_ascii(std::string_view text) {
    size_t i = 0;
    for (uint64_t eight; i + 8 <= text.size(); i += 8) {
        std::memcpy(&eight, text.data() + i, 8);
        if (eight & 0x8080808080808080u) return false;
    }
    return std::all_of(text.begin() + static_cast<std::ptrdiff_t>(i), text.end(),
                       [](char byte) { return static_cast<unsigned char>(byte) < 0x80; });
}

size_t length(std::string_view text) {
    if (is_ascii(text)) return text.size();
    size_t count = 0;
    for (; !text.empty(); text.remove_prefix(first_character(text).bytes)) ++count;
    return count;
}

size_t byte_of(std::string_view text, size_t index) {
    if (is_ascii(text)) return std::min(index, text.size());
    size_t byte = 0;
    for (; index > 0 && byte < text.size(); --index) byte += first_character(text.substr(byte)).bytes;
    return byte;
}

std::string_view cut(std::string_view text, size_t begin, size_t end) {
    if (begin >= end) return {};
    text.remove_prefix(byte_of(text, begin));
    return text.substr(0, byte_of(text, end - begin));
}

bool is_space(char32_t c) {
    if (c < 0x80) return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

std::string_view strip_left(std::string_view text) {
    return strip_left_while(text, is_blank);
}
std::string_view strip_right(std::string_view text) {
    return strip_right_while(text, is_blank);
}

// A character of valid UTF-8 stands in a set of characters where its bytes stand in it.
std::string_view strip_left(std::string_view text, std::string_view set) {
    return strip_left_while(text, [&](std::string_view c) { return set.find(c) != set.npos; });
}
std::string_view strip_right(std::string_view text, std::string_view set) {
    return strip_right_while(text, [&](std::string_view c) { return set.find(c) != set.npos; });
}

size_t find(std::string_view text, std::string_view part) {
    if (part.empty()) return 0;
    if (part.size() > text.size()) return text.npos;
    const auto* found = static_cast<const char*>(::memmem(text.data(), text.size(), part.data(), part.size()));
    return found ? static_cast<size_t>(found - text.data()) : text.npos;
}

std::string_view take_line(std::string_view& text, bool keep_end) {
    const std::string_view whole = text;
    for (size_t at = 0; at < whole.size();) {
        const Character c = first_character(whole.substr(at));
        size_t next = at + c.bytes;
        if (ends_line(c.code_point)) {
            if (c.code_point == '\r' && next < whole.size() && whole[next] == '\n') ++next;
            text.remove_prefix(next);
            return whole.substr(0, keep_end ? next : at);
        }
        at = next;
    }
    text = {};
    return whole;
}

std::string replace(std::string_view text, std::string_view old_text, std::string_view new_text, size_t count) {
    std::string result;
    size_t from = 0;
    if (old_text.empty()) {  // before each character, and at the end
        for (; count > 0; --count) {
            result += new_text;
            if (from == text.size()) return result;
            const size_t bytes = first_character(text.substr(from)).bytes;
            result += text.substr(from, bytes);
            from += bytes;
        }
        return result.append(text.substr(from));
    }
    for (; count > 0; --count) {
        const size_t found = find(text.substr(from), old_text);
        if (found == text.npos) break;
        result.append(text.substr(from, found)).append(new_text);
        from += found + old_text.size();
    }
    return result.append(text.substr(from));
}

}  // namespace llmc::jinja::text
