#include "llmc/tokenizer/transcript.h"

#include "llmc/core/utf8.h"

namespace llmc {

namespace {

// How many characters at the beginning of a token are blanks, or at its end if `backwards`. U+0120 is the blank of
// byte-level tokens.
size_t blanks_of(std::string_view token, bool backwards) {
    size_t count = 0;
    while (!token.empty()) {
        const std::string_view character = backwards ? character_before(token, token.size()) : character_at(token, 0);
        if (character != "\xC4\xA0" && !is_white_space(utf8_code_point(character))) break;
        if (backwards) {
            token.remove_suffix(character.size());
        } else {
            token.remove_prefix(character.size());
        }
        ++count;
    }
    return count;
}

}  // namespace

void Transcript::add(int32_t id, const AlignedText& aligned, TextRange place) {
    if (ranges_) {
        const TextRange range = aligned.range(place.begin, place.end);
        const std::string_view spelling = aligned.text().substr(place.begin, place.end - place.begin);
        ranges_->push_back(trim_ ? trimmed(range, spelling) : range);
    }
    ids_.push_back(id);
}

void Transcript::add(const std::vector<PieceToken>& tokens, const TokenModel& model, const AlignedText& aligned,
                     size_t offset) {
    for (const PieceToken& token : tokens) {
        if (ranges_) {
            const TextRange range = aligned.range(offset + token.begin, offset + token.end);
            ranges_->push_back(trim_ ? trimmed(range, model.spelling(token, aligned.text().substr(offset))) : range);
        }
        ids_.push_back(token.id);
    }
}

// As many characters of the text are taken off as the token has blanks, whatever they are.
TextRange Transcript::trimmed(TextRange range, std::string_view spelling) const {
    const bool is_first = ids_.empty() || range.begin == 0;
    size_t leading = blanks_of(spelling, false);
    if (leading == 1 && is_first && trim_->add_prefix_space) leading = 0;
    for (; leading > 0 && range.begin < range.end; --leading) range.begin += character_at(text_, range.begin).size();
    for (size_t left = blanks_of(spelling, true); left > 0 && range.begin < range.end; --left) {
        range.end -= character_before(text_, range.end).size();
    }
    return range;
}

}  // namespace llmc
