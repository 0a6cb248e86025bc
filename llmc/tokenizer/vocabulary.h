// The tokens of a model: their texts by id, and their ids by text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace llmc {

class Vocabulary {
  public:
    // The largest vocabulary known is 256 thousand. A larger id is a damaged file.
    static constexpr int32_t kMaxId = (1 << 24) - 1;

    void reserve(size_t tokens);

    // Adds a token. If the id is another token's already, returns that one and adds nothing; else null. Of equal tokens
    // the last one's id counts.
    const std::string* add(std::string token, int32_t id);

    std::optional<int32_t> id(std::string_view token) const;
    const std::string* token(int32_t id) const;  // null: no such id
    // The ids of "<0x00>" .. "<0xFF>", by which a text can be spelled that the vocabulary lacks words for.
    std::optional<int32_t> byte_id(char byte) const;

    int32_t size() const { return static_cast<int32_t>(ids_.size()); }
    int32_t max_id() const { return max_id_; }  // -1: no token at all

  private:
    struct StringHash {  // lets the map be searched by a view
        using is_transparent = void;
        size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
    };

    std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>> ids_;
    std::unordered_map<int32_t, const std::string*> tokens_;  // a list would be as long as a file claims
    int32_t max_id_ = -1;
};

}  // namespace llmc
