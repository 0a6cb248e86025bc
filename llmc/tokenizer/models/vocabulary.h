// The tokens of a model: their texts by id, and their ids by text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmc {

class Vocabulary {
  public:
    // The largest vocabulary known is 256 thousand. A larger id is a damaged file.
    static constexpr int32_t kMaxId = (1 << 24) - 1;

    void reserve(size_t tokens);

    // Adds a token, whose id is larger than those before it. Of equal texts the last one's id counts.
    void add(std::string_view text, int32_t id);

    std::optional<int32_t> id(std::string_view text) const;
    const std::string* token(int32_t id) const;  // null: no such id

    // "<0x00>" .. "<0xFF>", by which a text can be spelled that the vocabulary lacks words for.
    static std::string byte_token(char byte);
    std::optional<int32_t> byte_id(char byte) const { return id(byte_token(byte)); }

    int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
    int32_t max_id() const { return tokens_.empty() ? -1 : tokens_.back().id; }  // -1: no token at all

  private:
    struct Token {
        int32_t id;
        std::string text;
    };
    // An open hash table with linear probing, at most half full.
    struct Slot {
        uint32_t hash = 0;
        int32_t token = -1;  // index of tokens_; -1: free
    };

    size_t slot_of(std::string_view text, uint32_t hash) const;
    void grow(size_t slots);

    std::vector<Token> tokens_;  // by id; a list of all ids would be as long as a file claims
    std::vector<Slot> slots_;    // a power of two of them
};

}  // namespace llmc
