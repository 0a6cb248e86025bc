// Text to token ids and back: the same ids as Hugging Face's tokenizers, without Python.
//
// Reads a model directory's tokenizer.json if it is there: models BPE and Unigram with the parts that normalizer.h,
// pre_tokenizer.h, decoder.h and added_tokens.h name; anything else is refused by name. Else tokenizer.model through
// the SentencePiece library: as Hugging Face's LLaMA tokenizer treats it if there is a tokenizer_config.json, by
// SentencePiece's own rules if not. tokenizer_config.json, special_tokens_map.json and added_tokens.json add what they
// say about special tokens; split_special_tokens makes these text like any other.
//
// Use never changes a Tokenizer: threads may share it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "llmc/tokenizer/text_range.h"

namespace llmc {

struct TokenizerParts;

// The ids of a text, and for each the bytes of the text that it stands for, as the offsets of Hugging Face's tokenizers
// are (which count characters): a token that holds part of a character has the whole of it, blanks that an added token
// absorbs belong to it, and ranges may overlap, leave parts of the text out, or be empty where a normalizer wrote what
// was not there.
struct Encoding {
    std::vector<int32_t> ids;
    std::vector<TextRange> ranges;  // as many
};

class Tokenizer {
  public:
    static std::unique_ptr<Tokenizer> load(const std::filesystem::path& model_directory);
    ~Tokenizer();

    // The ids of a text, which must be well-formed UTF-8. Special tokens in the text are matched; none is added.
    std::vector<int32_t> encode(std::string_view text) const;

    // The same ids, and where in the text they come from. Throws Error if a text is 4 GiB long.
    Encoding encode_with_ranges(std::string_view text) const;

    // The text of the ids. Ids that the tokenizer does not know (the padding of an embedding table) are skipped.
    std::string decode(std::span<const int32_t> ids, bool skip_special) const;

    std::optional<int32_t> bos_id() const;
    std::optional<int32_t> eos_id() const;
    // Whether Hugging Face adds BOS before or EOS after a text when asked to add special tokens (its default).
    bool adds_bos() const;
    bool adds_eos() const;

    int32_t vocab_size() const;                // the largest id + 1
    std::string token_text(int32_t id) const;  // as the vocabulary spells it: "\u0120the", "<0x0A>"
    std::optional<int32_t> token_id(std::string_view token) const;  // of such a spelling
    bool is_special(int32_t id) const;

  private:
    friend class TextStream;
    explicit Tokenizer(std::unique_ptr<TokenizerParts> parts);

    void encode(std::string_view text, std::vector<int32_t>& ids, std::vector<TextRange>* ranges) const;

    std::unique_ptr<TokenizerParts> parts_;
};

// decode() one id at a time, to show text while it is generated. Never returns part of a character. All that push() and
// finish() return, concatenated, equals decode() of all the ids.
class TextStream {
  public:
    TextStream(const Tokenizer& tokenizer, bool skip_special);  // the tokenizer must outlive the stream
    ~TextStream();

    std::string push(int32_t id);
    std::string finish();  // what was held back in case more followed

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace llmc
