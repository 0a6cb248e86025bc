// The pre-tokenizers of tokenizer.json cut a text into pieces, which the model encodes one by one, and may rewrite
// them: ByteLevel, Digits, Metaspace, Punctuation, Split, Whitespace, WhitespaceSplit, and Sequence of them. Other
// kinds are refused by name.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "llmc/tokenizer/regex/regex.h"
#include "llmc/tokenizer/step_limits.h"
#include "llmc/tokenizer/text/aligned_text.h"

namespace llmc {

class JsonObject;

// A stretch of the text that the model sees as a whole, or an added token.
struct Piece {
    size_t begin, end;
    int32_t id = -1;  // of the added token it is
};

// Cuts and rewrites the pieces that are not added tokens. Pieces lie one behind the other, none is empty, and a step
// may leave a part of the text out.
class PreTokenizerStep {
  public:
    virtual ~PreTokenizerStep() = default;
    virtual void apply(AlignedText& text, std::vector<Piece>& pieces) const = 0;
};

enum class PrependScheme { first, never, always };

class PreTokenizer {
  public:
    PreTokenizer() = default;  // one piece
    explicit PreTokenizer(const JsonObject& pre_tokenizer);

    // Spaces become U+2581, and one is put in front as the scheme says: LLaMA's way of marking words.
    static PreTokenizer metaspace(PrependScheme scheme);

    void apply(AlignedText& text, std::vector<Piece>& pieces) const;

    // Whether the result depends on where in the whole text a piece lies, so that the text must be tracked.
    bool needs_positions() const { return needs_positions_; }

  private:
    void read(const JsonObject& pre_tokenizer, StepLimits& limits);
    template <class Step>
    void add(Step step);

    std::vector<std::shared_ptr<const PreTokenizerStep>> steps_;
    bool needs_positions_ = false;
};

// Field "prepend_scheme" of a Metaspace, or its older spelling, "add_prefix_space".
PrependScheme read_prepend_scheme(const JsonObject& metaspace);

// Field "replacement" of a Metaspace.
std::string read_replacement(const JsonObject& metaspace);

}  // namespace llmc
