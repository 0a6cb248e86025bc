// Added tokens, special tokens among them: found in the text before the model sees it.
//
// The rules are those of Hugging Face's tokenizers. At the leftmost place where any token occurs, the longest is taken.
// A `normalized` token is matched in its normalized spelling, after the text around it has been normalized; the others
// are matched first, in the original text. `single_word` tokens count only where no word touches them; `lstrip` and
// `rstrip` tokens absorb the white space on their left and right.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "llmc/tokenizer/models/byte_trie.h"
#include "llmc/tokenizer/regex/regex.h"

namespace llmc {

struct AddedToken {
    int32_t id = -1;
    std::string content;
    std::string pattern;  // what to match: the content, normalized if `normalized` is set
    bool single_word = false, lstrip = false, rstrip = false, normalized = false, special = false;
};

// A stretch of the text: an added token, or what lies between two.
struct TokenSpan {
    size_t begin, end;
    int32_t id;  // -1: not a token
};

// Finds the patterns of some of the added tokens in a text.
class AddedTokenMatcher {
  public:
    // `token` must outlive the matcher.
    void add(const AddedToken& token);
    // Special tokens are found, but do not count: their text is text like any other.
    void disregard_special() { disregards_special_ = true; }
    std::vector<TokenSpan> cut(std::string_view text) const;

  private:
    const AddedToken* longest_at(std::string_view text, size_t offset) const;

    ByteTrie trie_;
    std::vector<const AddedToken*> ends_{nullptr};  // by node: the token that ends there
    bool disregards_special_ = false;
    bool first_bytes_[256] = {};  // bytes that a token can begin with: most cannot
};

}  // namespace llmc
