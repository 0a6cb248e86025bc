// Turns one piece of text into ids, whatever surrounds it: byte-pair encoding or SentencePiece.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmc {

// A token, and the bytes of the piece that it covers.
struct PieceToken {
    int32_t id;
    uint32_t begin, end;
};

class TokenModel {
  public:
    virtual ~TokenModel() = default;

    // Sets `tokens` to those of a piece, which is not empty.
    virtual void encode(std::string_view piece, std::vector<PieceToken>& tokens) const = 0;

    // How Hugging Face's tokenizers spell one of these tokens: as the vocabulary does, if the model says no more.
    virtual std::string_view spelling(const PieceToken& found, std::string_view piece) const;

    virtual std::optional<int32_t> id(std::string_view token) const = 0;
    virtual const std::string* token(int32_t id) const = 0;  // null: no such id
    virtual int32_t n_tokens() const = 0;
    virtual int32_t max_id() const = 0;  // -1: no token at all
};

inline std::string_view TokenModel::spelling(const PieceToken& found, std::string_view) const {
    return *token(found.id);
}

}  // namespace llmc
