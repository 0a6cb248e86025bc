// Long texts in pieces that fit a model's sequences.
#pragma once

#include <cstdint>
#include <vector>

#include "llmc/data/batch.h"

namespace llmc {

// The example in pieces of at most `most_tokens`, which is 2 or more. The last token of a piece is the first of the
// next, so that every token but the example's first is predicted in exactly one piece. A short example is one piece.
std::vector<Example> pieces_of(Example whole, int64_t most_tokens);

}  // namespace llmc
