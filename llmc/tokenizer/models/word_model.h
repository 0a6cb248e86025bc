// A model that joins characters to tokens step by step. A piece may be a whole text: it is first cut where no step can
// join the characters left and right of the cut. This changes no token, and most of the words have been seen before.
#pragma once

#include <bitset>

#include "llmc/tokenizer/models/pair_table.h"
#include "llmc/tokenizer/models/token_model.h"
#include "llmc/tokenizer/models/word_cache.h"

namespace llmc {

class WordModel : public TokenModel {
  public:
    void encode(std::string_view piece, std::vector<PieceToken>& tokens) const override;

  protected:
    // Sets `tokens` to those of a word, which is a stretch of a piece, not empty.
    virtual void encode_word(std::string_view word, std::vector<PieceToken>& tokens) const = 0;

    // What the constructor of a model tells: a token of one character, and which characters may be joined.
    void add_character(char32_t character, int32_t id);
    void add_junction(char32_t left, char32_t right) { junctions_.set(junction(left, right)); }

    int32_t character_id(char32_t character) const {  // -1: no such token
        const int32_t* id = character_ids_.find(static_cast<int32_t>(character), 0);
        return id ? *id : -1;
    }

  private:
    // Pairs of characters, by hash: what is not in the set is certainly not joined.
    static constexpr size_t kJunctions = size_t{1} << 18;
    static size_t junction(char32_t left, char32_t right) { return (left * 0x9E3779B1U ^ right * 0x85EBCA77U) >> 14; }

    size_t end_of_word(std::string_view piece, size_t begin) const;
    void append_word(std::string_view word, std::vector<PieceToken>& tokens) const;

    std::bitset<kJunctions> junctions_;
    PairTable<int32_t> character_ids_;  // by code point, and 0

    mutable WordCache cache_;
};

}  // namespace llmc
