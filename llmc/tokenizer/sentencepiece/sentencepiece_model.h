// tokenizer.model, read by the SentencePiece library.
//
// Its merges are those of a Bpe, which encodes several times as fast. The library itself encodes only for models with
// pieces that a Bpe has not, user-defined ones and the like, or with a piece of a character that is none.
//
// The library would put a space in front of every text and drop repeated ones if the file says so. Both are done before
// the model here, by a normalizer or as Hugging Face's LLaMA tokenizer does, and switched off in the library.
#pragma once

#include <filesystem>
#include <memory>

#include "llmc/tokenizer/models/bpe.h"
#include "llmc/tokenizer/models/word_model.h"
#include "llmc/tokenizer/sentencepiece/sentencepiece_proto.h"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace llmc {

class SentencePieceModel : public WordModel {
  public:
    explicit SentencePieceModel(const std::filesystem::path& path);
    ~SentencePieceModel() override;

    std::optional<int32_t> id(std::string_view token) const override;
    const std::string* token(int32_t id) const override;
    int32_t n_tokens() const override;
    int32_t max_id() const override { return n_tokens() - 1; }

    // Whether the id is the unknown token, BOS, EOS or the like: the model itself never finds these in a text.
    bool is_control(int32_t id) const;
    std::optional<int32_t> bos_id() const;
    std::optional<int32_t> eos_id() const;
    const SentencePieceTraits& traits() const { return traits_; }

    void encode(std::string_view piece, std::vector<PieceToken>& tokens) const override;

  protected:
    void encode_word(std::string_view word, std::vector<PieceToken>& tokens) const override;

  private:
    void note_pieces();
    std::unique_ptr<Bpe> make_bpe() const;

    SentencePieceTraits traits_;
    std::unique_ptr<Bpe> bpe_;  // null: the library encodes
    std::string path_;
    std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
};

}  // namespace llmc
