#include "llmc/metrics/words.h"

#include "llmc/core/utf8.h"

namespace llmc {
namespace {

// What \s means in Python: Unicode's white space and the four ASCII separators.
bool is_python_space(std::string_view sequence) {
    const char32_t code_point = utf8_code_point(sequence);
    return is_white_space(code_point) || (code_point >= 0x1C && code_point <= 0x1F);
}

}  // namespace

int64_t count_words(std::string_view text) {
    int64_t words = 1;
    bool in_space = false;
    while (!text.empty()) {
        const Utf8Sequence sequence = utf8_sequence(text);
        const auto length = static_cast<size_t>(sequence.length);
        const bool space = sequence.kind == Utf8::valid && is_python_space(text.substr(0, length));
        if (space && !in_space) ++words;
        in_space = space;
        text.remove_prefix(length);
    }
    return words;
}

}  // namespace llmc
