// tokenizer.model, through the SentencePiece library.
//
// The library would put a space in front of every text and drop repeated ones if the file says so. Both are done before
// the model here, by a normalizer or as Hugging Face's LLaMA tokenizer does, and switched off in the library.
#pragma once

#include <filesystem>
#include <memory>

#include "llmc/tokenizer/sentencepiece_proto.h"
#include "llmc/tokenizer/word_model.h"

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
    const SentencePieceSpaces& spaces() const { return spaces_; }

  protected:
    void encode_word(std::string_view word, std::vector<PieceToken>& tokens) const override;

  private:
    void note_pieces();

    SentencePieceSpaces spaces_;
    std::string path_;
    std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
};

}  // namespace llmc
