// Turns one piece of text into ids, whatever surrounds it: byte-pair encoding or SentencePiece.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmc {

class TokenModel {
  public:
    virtual ~TokenModel() = default;

    // Appends the ids of a piece, which is not empty.
    virtual void encode(std::string_view piece, std::vector<int32_t>& ids) const = 0;

    virtual std::optional<int32_t> id(std::string_view token) const = 0;
    virtual const std::string* token(int32_t id) const = 0;  // null: no such id
    virtual int32_t n_tokens() const = 0;
    virtual int32_t max_id() const = 0;  // -1: no token at all
};

}  // namespace llmc
