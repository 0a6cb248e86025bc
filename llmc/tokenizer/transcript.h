// Takes down the tokens of a text as they are found, and where they come from if that is asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "llmc/tokenizer/models/token_model.h"
#include "llmc/tokenizer/text/aligned_text.h"

namespace llmc {

// Blanks that a token begins or ends with are not part of its range: what a ByteLevel post-processor does. The first
// token's only one in front stays if it may have been put there (`add_prefix_space`).
struct TrimRanges {
    bool add_prefix_space;
};

class Transcript {
  public:
    // `ranges` may be null. `trim` counts if it is not.
    Transcript(std::string_view text, std::vector<int32_t>& ids, std::vector<TextRange>* ranges,
               std::optional<TrimRanges> trim)
        : text_(text), ids_(ids), ranges_(ranges), trim_(trim) {}

    // The added token that was found at `place` of the aligned text.
    void add(int32_t id, const AlignedText& aligned, TextRange place);

    // The model's tokens of the piece at `offset` of the aligned text.
    void add(const std::vector<PieceToken>& tokens, const TokenModel& model, const AlignedText& aligned, size_t offset);

  private:
    TextRange trimmed(TextRange range, std::string_view spelling) const;

    std::string_view text_;
    std::vector<int32_t>& ids_;
    std::vector<TextRange>* ranges_;
    std::optional<TrimRanges> trim_;
};

}  // namespace llmc
