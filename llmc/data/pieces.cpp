#include "llmc/data/pieces.h"

#include <algorithm>
#include <utility>

#include "llmc/core/error.h"

namespace llmc {

std::vector<Example> pieces_of(Example whole, int64_t most_tokens) {
    require(most_tokens >= 2, "a piece of a text needs at least 2 tokens, not ", most_tokens);
    std::vector<Example> pieces;
    const int64_t length = std::ssize(whole.input_ids);
    if (length <= most_tokens) {
        pieces.push_back(std::move(whole));
        return pieces;
    }
    for (int64_t begin = 0; begin + 1 < length; begin += most_tokens - 1) {
        const int64_t end = std::min(begin + most_tokens, length);
        Example& piece = pieces.emplace_back();
        piece.index = whole.index;
        piece.file = whole.file;
        piece.input_ids.assign(whole.input_ids.begin() + begin, whole.input_ids.begin() + end);
        piece.labels.assign(whole.labels.begin() + begin, whole.labels.begin() + end);
        piece.labels.front() = kIgnoreLabel;
    }
    return pieces;
}

}  // namespace llmc
