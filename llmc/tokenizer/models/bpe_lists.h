// The two long lists of a "BPE" model in tokenizer.json, whose other fields bpe.h reads: "vocab", the tokens and their
// ids, and "merges". Both have up to a quarter of a million entries, which are taken as the parser reads them: a tree
// of them would take longer to build than all else that loading does.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "llmc/io/json.h"

namespace llmc {

struct BpeLists {
    struct Token {
        int32_t id;
        std::string text;
    };
    struct Merge {
        std::string left, right;
    };

    std::vector<Token> tokens;    // as the file orders them; ids and texts may repeat
    std::vector<Merge> merges;    // the first is the most important
    int64_t n_merge_entries = 0;  // with the comments among them

    // The fields of `file` for read_json() to fill this with; both must stay where they are meanwhile. They throw Error
    // for an id out of range, and for a merge that is not of two tokens.
    std::vector<LongField> fields(const std::string& file);
};

}  // namespace llmc
