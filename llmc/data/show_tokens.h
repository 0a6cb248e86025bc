// What the model really sees: examples as text and token by token, with the positions that the loss counts.
//
//   example 0: 7 tokens, 3 of them in the loss
//     | <s>Name the capital of France: Paris</s>
//       0       1    "<s>"
//       1    4013    "Name"
//     ...
//       5     310  * "of"
//
// A * marks the tokens to be predicted. Where a label differs from the input token, both are shown. In colour, what is
// to be predicted is green, and special tokens are blue.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "llmc/data/batch.h"

namespace llmc {

struct TokenTexts {
    std::function<std::string(int32_t id)> spelling;  // of a token, in any bytes
    // May be empty: nothing is special, and no text is shown.
    std::function<bool(int32_t id)> is_special = nullptr;
    std::function<std::vector<std::string>(std::span<const int32_t> ids)> pieces = nullptr;  // the text, by token
};

std::string show_tokens(std::span<const Example> examples, int64_t count, const TokenTexts& texts, bool in_colour);

}  // namespace llmc
