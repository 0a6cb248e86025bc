// Byte-pair encoding, the "BPE" model of tokenizer.json (Sennrich, Haddow, Birch 2016, arXiv 1508.07909).
//
// A piece starts as one symbol per character. Of all neighbouring pairs in the merge table, the one listed first is
// merged, the leftmost of equals, until none is left. A character that the vocabulary lacks becomes its bytes
// (byte_fallback), the unknown token, or nothing.
//
// A piece may be a whole text. It is first cut where no merge can join the characters left and right of the cut; this
// changes no token, and most of these words have been seen before.
#pragma once

#include <bitset>
#include <nlohmann/json_fwd.hpp>

#include "llmc/tokenizer/merge_table.h"
#include "llmc/tokenizer/token_model.h"
#include "llmc/tokenizer/vocabulary.h"
#include "llmc/tokenizer/word_cache.h"

namespace llmc {

class JsonObject;

class Bpe : public TokenModel {
  public:
    explicit Bpe(const JsonObject& model);  // field "model" of tokenizer.json

    void encode(std::string_view piece, std::vector<PieceToken>& tokens) const override;
    std::optional<int32_t> id(std::string_view token) const override { return vocabulary_.id(token); }
    const std::string* token(int32_t id) const override { return vocabulary_.token(id); }
    int32_t n_tokens() const override { return vocabulary_.size(); }
    int32_t max_id() const override { return vocabulary_.max_id(); }

  private:
    // Pairs of characters, by hash: a pair that is not in it is in no merge.
    class Junctions {
      public:
        void add(char32_t left, char32_t right) { joined_.set(slot(left, right)); }
        bool may_join(char32_t left, char32_t right) const { return joined_.test(slot(left, right)); }

      private:
        static constexpr size_t kSlots = size_t{1} << 18;
        static size_t slot(char32_t left, char32_t right) { return (left * 0x9E3779B1U ^ right * 0x85EBCA77U) >> 14; }
        std::bitset<kSlots> joined_;
    };

    void read_vocabulary(const JsonObject& model);
    void read_merges(const JsonObject& model);

    int32_t character_id(char32_t character) const;  // -1: no such token
    size_t end_of_word(std::string_view piece, size_t begin) const;
    void append_word(std::string_view word, std::vector<PieceToken>& tokens) const;
    std::vector<PieceToken> split_into_symbols(std::string_view word) const;
    void merge(std::vector<PieceToken>& symbols) const;
    void merge_few(std::vector<PieceToken>& symbols) const;
    void merge_many(std::vector<PieceToken>& symbols) const;

    Vocabulary vocabulary_;
    MergeTable merges_;
    Junctions junctions_;
    std::vector<int32_t> character_ids_;  // of the tokens of one character, by code point; -1: no such token
    int32_t byte_ids_[256];               // of "<0x00>" .. "<0xFF>", -1 where missing
    std::optional<int32_t> unknown_;
    bool fuse_unknown_ = false;
    bool byte_fallback_ = false;
    bool ignore_merges_ = false;  // a piece that is a token is that token, however the merges would build it

    mutable WordCache cache_;
};

}  // namespace llmc
