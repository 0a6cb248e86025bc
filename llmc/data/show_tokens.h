// What the model really sees: examples token by token, with the positions that the loss counts.
//
//   example 0: 7 tokens, 3 of them in the loss
//       0       1    "<s>"
//       1    4013    "Name"
//     ...
//       5     310  * "of"
//
// A * marks the tokens to be predicted. Where a label differs from the input token, both are shown.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "llmc/data/batch.h"

namespace llmc {

// `token_text`: the text of a token id, in any bytes.
std::string show_tokens(std::span<const Example> examples, int64_t count,
                        const std::function<std::string(int32_t)>& token_text);

}  // namespace llmc
