#include "llmc/tokenizer/added_tokens.h"

#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/core/utf8.h"
#include "llmc/io/json.h"

namespace llmc {

namespace {

// \w as Rust's regex crate, whose definition counts here, has it.
bool is_word_character(std::string_view character) {
    static const Regex kWord(concat("[", kRustWord, "]"), "words");
    return kWord.matches_front(character);
}

}  // namespace

void AddedTokenMatcher::add(const AddedToken& token) {
    first_bytes_[static_cast<uint8_t>(token.pattern.front())] = true;
    const int32_t node = trie_.add(token.pattern);
    ends_.resize(trie_.size(), nullptr);
    require(!ends_[node], "The added tokens ", describe(ends_[node] ? ends_[node]->content : ""), " and ",
            describe(token.content), " cannot be told apart in a text.");
    ends_[node] = &token;
}

const AddedToken* AddedTokenMatcher::longest_at(std::string_view text, size_t offset) const {
    if (!first_bytes_[static_cast<uint8_t>(text[offset])]) return nullptr;
    const AddedToken* longest = nullptr;
    int32_t node = ByteTrie::kRoot;
    for (size_t i = offset; i < text.size(); ++i) {
        node = trie_.next(node, text[i]);
        if (node < 0) break;
        if (ends_[node]) longest = ends_[node];
    }
    return longest;
}

std::vector<TokenSpan> AddedTokenMatcher::cut(std::string_view text) const {
    std::vector<TokenSpan> spans;
    size_t done = 0;  // end of the last span
    for (size_t search = 0; search < text.size();) {
        const AddedToken* token = longest_at(text, search);
        if (!token) {
            ++search;
            continue;
        }
        size_t begin = search;
        size_t end = begin + token->pattern.size();
        search = end;  // also past a token that does not count
        if (disregards_special_ && token->special) continue;
        if (token->single_word && ((begin > 0 && is_word_character(character_before(text, begin))) ||
                                   (end < text.size() && is_word_character(character_at(text, end))))) {
            continue;
        }
        if (token->lstrip) {
            size_t space = std::max(begin, done);  // a token on the left may have taken some already
            while (space > done && is_white_space(utf8_code_point(character_before(text, space)))) {
                space -= character_before(text, space).size();
            }
            begin = space;
        }
        if (token->rstrip) {
            while (end < text.size() && is_white_space(utf8_code_point(character_at(text, end)))) {
                end += character_at(text, end).size();
            }
        }
        if (done < begin) spans.push_back({done, begin, -1});
        // Nothing is left of a token of blanks that the one before it has absorbed.
        if (begin < end) spans.push_back({begin, end, token->id});
        done = std::max(begin, end);
    }
    if (done != text.size()) spans.push_back({done, text.size(), -1});
    return spans;
}

}  // namespace llmc
