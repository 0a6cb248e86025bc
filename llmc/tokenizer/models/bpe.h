// Byte-pair encoding, the "BPE" model of tokenizer.json (Sennrich, Haddow, Birch 2016, arXiv 1508.07909).
//
// A piece starts as one symbol per character. Of all neighbouring pairs in the merge table, the one listed first is
// merged, the leftmost of equals, until none is left. A character that the vocabulary lacks becomes its bytes
// (byte_fallback), the unknown token, or nothing.
#pragma once

#include "llmc/tokenizer/models/bpe_lists.h"
#include "llmc/tokenizer/models/pair_table.h"
#include "llmc/tokenizer/models/vocabulary.h"
#include "llmc/tokenizer/models/word_model.h"

namespace llmc {

class Bpe : public WordModel {
  public:
    // A token whose merges are not listed: any two tokens that spell it merge, the higher its score the earlier.
    struct ScoredToken {
        std::string_view text;
        int32_t id;
        float score;
    };

    Bpe(const JsonObject& model, BpeLists lists);  // field "model" of tokenizer.json

    // A model of SentencePiece. `byte_ids`: of the 256 bytes, which stand for what no token spells, or nothing: then
    // runs of such characters become the unknown token.
    Bpe(std::vector<ScoredToken> tokens, const std::vector<int32_t>& byte_ids, int32_t unknown);

    void encode(std::string_view piece, std::vector<PieceToken>& tokens) const override;
    std::optional<int32_t> id(std::string_view token) const override { return vocabulary_.id(token); }
    const std::string* token(int32_t id) const override { return vocabulary_.token(id); }
    int32_t n_tokens() const override { return vocabulary_.size(); }
    int32_t max_id() const override { return vocabulary_.max_id(); }

  protected:
    void encode_word(std::string_view word, std::vector<PieceToken>& tokens) const override;

  private:
    struct Merge {
        int32_t rank = -1;  // position in the list of merges
        int32_t id = -1;    // of the merged token
    };

    void read_vocabulary(const JsonObject& model, std::vector<BpeLists::Token> tokens);
    void read_merges(const JsonObject& model, const std::vector<BpeLists::Merge>& merges);

    void add_token(std::string_view text, int32_t id);
    struct Side {
        std::string_view text;
        int32_t id;
    };
    void add_merge(const Side& left, const Side& right, Merge merge);
    std::vector<PieceToken> split_into_symbols(std::string_view word) const;
    void merge_few(std::vector<PieceToken>& symbols) const;
    void merge_many(std::vector<PieceToken>& symbols) const;

    Vocabulary vocabulary_;
    PairTable<Merge> merges_;
    int32_t byte_ids_[256];  // of "<0x00>" .. "<0xFF>", -1 where missing
    std::optional<int32_t> unknown_;
    bool fuse_unknown_ = false;
    bool byte_fallback_ = false;
    bool ignore_merges_ = false;  // a piece that is a token is that token, however the merges would build it
};

}  // namespace llmc
