// tokenizer.model, through the SentencePiece library.
//
// The library would put a space in front of every text and drop repeated ones if the file says so. Hugging Face's LLaMA
// tokenizer handles spaces itself, before the model, so both are switched off here.
#pragma once

#include <filesystem>
#include <memory>

#include "llmc/tokenizer/token_model.h"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace llmc {

class SentencePieceModel : public TokenModel {
  public:
    explicit SentencePieceModel(const std::filesystem::path& path);
    ~SentencePieceModel() override;

    void encode(std::string_view piece, std::vector<PieceToken>& tokens) const override;
    std::optional<int32_t> id(std::string_view token) const override;
    const std::string* token(int32_t id) const override;
    int32_t n_tokens() const override;
    int32_t max_id() const override { return n_tokens() - 1; }

    // Whether the id is the unknown token, BOS, EOS or the like: the model itself never finds these in a text.
    bool is_control(int32_t id) const;
    std::optional<int32_t> bos_id() const;
    std::optional<int32_t> eos_id() const;

  private:
    std::string path_;
    std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
};

}  // namespace llmc
