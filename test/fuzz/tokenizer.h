// Uses a tokenizer that could be read: encodes several kinds of text, and decodes ids.
#pragma once

#include "llmc/tokenizer/tokenizer.h"

namespace fuzz {

inline void use_tokenizer(const std::filesystem::path& directory) {
    const auto tokenizer = llmc::Tokenizer::load(directory);
    for (const char* text :
         {"", "abc <s>ab</s>", " The  year\n\n2024's caf\xC3\xA9, \xF0\x9F\xA6\x86!\t", "\xE2\x96\x81"}) {
        const std::vector<int32_t> ids = tokenizer->encode(text);
        tokenizer->decode(ids, true);
        for (const int32_t id : ids) tokenizer->token_text(id);
    }
    const std::vector<int32_t> some = {0, 3, 5, -1, tokenizer->vocab_size() - 1, tokenizer->vocab_size(), INT32_MAX};
    tokenizer->decode(some, false);
}

}  // namespace fuzz
