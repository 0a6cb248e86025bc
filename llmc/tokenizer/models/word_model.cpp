#include "llmc/tokenizer/models/word_model.h"

#include "llmc/core/utf8.h"

namespace llmc {

void WordModel::add_character(char32_t character, int32_t id) {
    character_ids_.add(static_cast<int32_t>(character), 0, id);
}

void WordModel::encode(std::string_view piece, std::vector<PieceToken>& tokens) const {
    tokens.clear();
    for (size_t begin = 0; begin < piece.size();) {
        const size_t end = end_of_word(piece, begin);
        append_word(piece.substr(begin, end - begin), tokens);
        begin = end;
    }
}

// A word ends between two tokens of one character that nothing joins. Next to other characters nothing is cut: runs of
// unknown ones may become one token.
size_t WordModel::end_of_word(std::string_view piece, size_t begin) const {
    constexpr size_t kShort = 20;  // bytes: what a pre-tokenizer has cut is rarely longer, and is not looked at
    if (piece.size() - begin <= kShort) return piece.size();
    char32_t left = 0;
    bool left_is_known = false;
    for (size_t at = begin; at < piece.size();) {
        const std::string_view character = character_at(piece, at);
        const char32_t right = utf8_code_point(character);
        const bool right_is_known = character_id(right) >= 0;
        if (left_is_known && right_is_known && !junctions_.test(junction(left, right))) return at;
        left = right;
        left_is_known = right_is_known;
        at += character.size();
    }
    return piece.size();
}

// Each token covers what lies behind the one before it. So they do in Hugging Face's code, also where characters were
// dropped, which then shifts all behind them.
void WordModel::append_word(std::string_view word, std::vector<PieceToken>& tokens) const {
    const uint32_t offset = tokens.empty() ? 0 : tokens.back().end;
    const auto append = [&](const std::vector<PieceToken>& found) {
        for (const auto& [id, begin, end] : found) tokens.push_back({id, offset + begin, offset + end});
    };
    if (const std::vector<PieceToken>* known = cache_.find(word)) return append(*known);
    std::vector<PieceToken> found;
    encode_word(word, found);
    append(found);
    cache_.add(word, found);
}

}  // namespace llmc
