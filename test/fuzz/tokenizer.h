// Uses a tokenizer that could be read: encodes several kinds of text, and decodes ids. Both ways to encode must agree,
// and what a token stands for must lie in the text.
#pragma once

#include <cstdlib>
#include <string_view>

#include "llmc/tokenizer/tokenizer.h"

namespace fuzz {

inline void use_tokenizer(const std::filesystem::path& directory) {
    const auto tokenizer = llmc::Tokenizer::load(directory);
    for (const std::string_view text :
         {"", "abc <s>ab</s>", " The  year\n\n2024's caf\xC3\xA9, \xF0\x9F\xA6\x86!\t", "\xE2\x96\x81",
          "e\xCC\x81\xCC\xA3 \xC4\xB0 \xED\x95\x9C\xE1\x84\x92\xE1\x85\xA1 \xEF\xB7\xBA \xE2\x91\xA0"}) {
        const auto [ids, ranges] = tokenizer->encode_with_ranges(text);
        if (ids != tokenizer->encode(text) || ranges.size() != ids.size()) std::abort();
        for (const auto& [begin, end] : ranges) {
            if (begin > end || end > text.size()) std::abort();
        }
        tokenizer->decode(ids, true);
        for (const int32_t id : ids) tokenizer->token_text(id);
    }
    const std::vector<int32_t> some = {0, 3, 5, -1, tokenizer->vocab_size() - 1, tokenizer->vocab_size(), INT32_MAX};
    tokenizer->decode(some, false);
}

}  // namespace fuzz
