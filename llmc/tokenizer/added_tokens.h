// Added tokens: the ones that are found in the text before the model sees it, special tokens among them.
//
// The rules are those of Hugging Face's tokenizers. At the leftmost place where any token occurs the longest is taken.
// A token that is `normalized` is looked for in its normalized spelling, after the text around it was normalized; the
// others first, in the text as it is. `single_word` tokens count only where no word touches them; `lstrip` and `rstrip`
// tokens swallow the white space on their left and right.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "llmc/tokenizer/regex.h"

namespace llmc {

struct AddedToken {
    int32_t id = -1;
    std::string content;
    std::string pattern;  // what is looked for: the content, normalized where `normalized` says so
    bool single_word = false, lstrip = false, rstrip = false, normalized = false, special = false;
};

// A stretch of the text: an added token, or what is between two.
struct TokenSpan {
    size_t begin, end;
    int32_t id;  // -1: not a token
};

// Finds the patterns of some of the added tokens in a text.
class AddedTokenMatcher {
  public:
    void add(const AddedToken& token);  // `token` must outlive the matcher
    std::vector<TokenSpan> cut(std::string_view text) const;

  private:
    const AddedToken* longest_at(std::string_view text, size_t offset) const;

    // A trie: edges by node << 8 | byte, nodes numbered from the root, 0.
    std::unordered_map<uint64_t, uint32_t> edges_;
    std::vector<const AddedToken*> ends_{nullptr};  // by node: the token that ends there
    bool first_bytes_[256] = {};                    // what a token can begin with: most bytes of a text cannot
};

}  // namespace llmc
