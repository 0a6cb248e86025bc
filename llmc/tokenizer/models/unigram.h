// The "Unigram" model of tokenizer.json: of all ways to cut a piece into tokens the one whose scores, logarithms of
// probabilities, have the largest sum (Kudo 2018, arXiv 1804.10959).
//
//   best[0] = 0,  best[end] = max over tokens that end there of best[begin] + score[token]
//
// in float64, tokens in order of begin, then of length, the first of equals. A character that is no token may stand for
// the unknown token, at the lowest score less 10. Neighbouring unknown ones become one token, or the bytes of all of
// them (byte_fallback), each of which covers the whole.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "llmc/tokenizer/models/byte_trie.h"
#include "llmc/tokenizer/models/token_model.h"
#include "llmc/tokenizer/models/vocabulary.h"
#include "llmc/tokenizer/models/word_cache.h"

namespace llmc {

class JsonObject;

class Unigram : public TokenModel {
  public:
    explicit Unigram(const JsonObject& model);  // field "model" of tokenizer.json

    // Throws Error if the piece holds an unknown character and there is no unknown token.
    void encode(std::string_view piece, std::vector<PieceToken>& tokens) const override;
    std::string_view spelling(const PieceToken& found, std::string_view piece) const override;
    std::optional<int32_t> id(std::string_view token) const override { return vocabulary_.id(token); }
    const std::string* token(int32_t id) const override { return vocabulary_.token(id); }
    int32_t n_tokens() const override { return vocabulary_.size(); }
    int32_t max_id() const override { return vocabulary_.max_id(); }

  private:
    // The last token of the best way to cut what lies before a place.
    struct Step {
        double score = 0;
        int64_t begin = -1;  // -1: none found yet
        int32_t id = -1;
    };
    void read_vocabulary(const JsonObject& model);
    std::vector<Step> best_steps(std::string_view piece) const;
    void extend(std::string_view piece, size_t begin, std::vector<Step>& best) const;
    void append(std::string_view text, uint32_t begin, std::vector<PieceToken>& tokens) const;

    std::string where_;  // the field, for errors
    Vocabulary vocabulary_;
    std::vector<double> scores_;  // by id
    ByteTrie trie_;
    std::vector<int32_t> ends_;  // by node: the id of the token that ends there, or -1
    double unknown_score_ = 0;
    std::optional<int32_t> unknown_;
    bool byte_fallback_ = false;

    mutable WordCache cache_;
};

}  // namespace llmc
