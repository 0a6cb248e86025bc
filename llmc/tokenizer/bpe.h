// Byte-pair encoding, the "BPE" model of tokenizer.json (Sennrich, Haddow, Birch 2016, arXiv 1508.07909).
//
// A piece starts as one symbol per character. Of all neighbouring pairs in the merge table, the one listed first is
// merged, the leftmost of equals, until none is left. A character that the vocabulary lacks becomes its bytes
// (byte_fallback), the unknown token, or nothing.
#pragma once

#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <unordered_map>

#include "llmc/tokenizer/token_model.h"

namespace llmc {

class JsonObject;

class Bpe : public TokenModel {
  public:
    explicit Bpe(const JsonObject& model);  // field "model" of tokenizer.json

    void encode(std::string_view piece, std::vector<int32_t>& ids) const override;
    std::optional<int32_t> id(std::string_view token) const override;
    const std::string* token(int32_t id) const override;
    int32_t n_tokens() const override { return static_cast<int32_t>(ids_.size()); }
    int32_t max_id() const override { return max_id_; }

  private:
    struct Merge {
        int32_t rank;  // position in the list of merges
        int32_t id;    // of the merged token
    };
    struct StringHash {  // lets a map of strings be searched by a view
        using is_transparent = void;
        size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
    };
    template <class Value>
    using StringMap = std::unordered_map<std::string, Value, StringHash, std::equal_to<>>;

    void read_vocabulary(const JsonObject& model);
    void read_merges(const JsonObject& model);
    const Merge* find_merge(int32_t left, int32_t right) const;
    std::vector<int32_t> split_into_symbols(std::string_view piece) const;
    void merge(std::vector<int32_t>& symbols) const;

    StringMap<int32_t> ids_;
    std::unordered_map<int32_t, const std::string*> tokens_;  // by id: a list would be as long as a file claims
    int32_t max_id_ = -1;
    std::unordered_map<uint64_t, Merge> merges_;  // by left id << 32 | right id
    int32_t byte_ids_[256];                       // of "<0x00>" .. "<0xFF>", -1 where missing
    std::optional<int32_t> unknown_;
    bool fuse_unknown_ = false;
    bool byte_fallback_ = false;
    bool ignore_merges_ = false;  // a piece that is a token is that token, however the merges would build it

    // Words recur: the ids of the first kCachedWords different short ones.
    mutable std::mutex cache_mutex_;
    mutable StringMap<std::vector<int32_t>> cache_;
};

}  // namespace llmc
