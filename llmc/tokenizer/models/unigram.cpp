#include "llmc/tokenizer/models/unigram.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/core/utf8.h"
#include "llmc/io/json.h"
#include "llmc/tokenizer/text_range.h"

namespace llmc {

Unigram::Unigram(const JsonObject& model) : where_(model.field("vocab")) {
    byte_fallback_ = model.boolean("byte_fallback", false);
    read_vocabulary(model);
    if (model.has("unk_id")) unknown_ = static_cast<int32_t>(model.integer("unk_id", 0, vocabulary_.size() - 1));
}

void Unigram::read_vocabulary(const JsonObject& model) {
    const nlohmann::json& entries = model.value("vocab");
    if (!entries.is_array() || entries.empty() || entries.size() > Vocabulary::kMaxId) {
        model.fail_field("vocab", "a list of tokens and their scores, not empty");
    }
    vocabulary_.reserve(entries.size());
    for (const nlohmann::json& entry : entries) {
        const int32_t id = vocabulary_.size();
        if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
            fail(where_, ", entry ", id, ": must be a token and its score, [\"a\", -3.5], found ", describe(entry),
                 ".");
        }
        const auto& token = entry[0].get_ref<const std::string&>();
        vocabulary_.add(token, id);
        scores_.push_back(entry[1].get<double>());
        if (token.empty()) continue;
        require(token.size() <= ByteTrie::kLongest, where_, ", entry ", id, ": the token has ", token.size(),
                " bytes, more than the ", ByteTrie::kLongest, " that one may have; the file is damaged.");
        const int32_t node = trie_.add(token);
        ends_.resize(trie_.size(), -1);
        ends_[node] = id;
    }
    ends_.resize(trie_.size(), -1);
    constexpr double kPenalty = 10;
    unknown_score_ = *std::ranges::min_element(scores_) - kPenalty;
}

void Unigram::encode(std::string_view piece, std::vector<PieceToken>& tokens) const {
    tokens.clear();
    if (const std::vector<PieceToken>* known = cache_.find(piece)) {
        tokens = *known;
        return;
    }
    const std::vector<Step> best = best_steps(piece);
    std::vector<TextRange> cut;  // backwards
    bool unknown_behind = false;
    for (size_t end = piece.size(); end > 0; end = cut.back().begin) {
        const auto begin = static_cast<size_t>(best[end].begin);
        const bool is_unknown = unknown_ && best[end].id == *unknown_;
        if (is_unknown && unknown_behind) {
            cut.back().begin = begin;
        } else {
            cut.push_back({begin, end});
        }
        unknown_behind = is_unknown;
    }
    std::ranges::reverse(cut);
    for (const auto& [begin, end] : cut) append(piece.substr(begin, end - begin), static_cast<uint32_t>(begin), tokens);
    cache_.add(piece, tokens);
}

std::vector<Unigram::Step> Unigram::best_steps(std::string_view piece) const {
    std::vector<Step> best(piece.size() + 1);  // by end
    best[0].begin = 0;
    for (size_t begin = 0; begin < piece.size(); begin += character_at(piece, begin).size()) extend(piece, begin, best);
    return best;
}

// Tries the tokens that begin at `begin`.
void Unigram::extend(std::string_view piece, size_t begin, std::vector<Step>& best) const {
    const auto offer = [&](size_t end, double score, int32_t id) {
        const double sum = best[begin].score + score;
        if (best[end].begin < 0 || sum > best[end].score) best[end] = {sum, static_cast<int64_t>(begin), id};
    };
    const size_t character_end = begin + character_at(piece, begin).size();
    bool character_is_token = false;
    int32_t node = ByteTrie::kRoot;
    for (size_t end = begin; end < piece.size();) {
        node = trie_.next(node, piece[end++]);
        if (node < 0) break;
        if (ends_[node] < 0) continue;
        offer(end, scores_[ends_[node]], ends_[node]);
        character_is_token |= end == character_end;
    }
    if (character_is_token) return;
    require(unknown_.has_value(), where_, " has no token for ",
            describe(std::string(piece.substr(begin, character_end - begin))),
            ", and \"unk_id\" names no unknown token. The text cannot be encoded.");
    offer(character_end, unknown_score_, *unknown_);
}

void Unigram::append(std::string_view text, uint32_t begin, std::vector<PieceToken>& tokens) const {
    const uint32_t end = begin + static_cast<uint32_t>(text.size());
    const std::optional<int32_t> known = id(text);
    const auto has_token = [&](char byte) { return vocabulary_.byte_id(byte).has_value(); };
    if (!known && byte_fallback_ && std::ranges::all_of(text, has_token)) {
        for (const char byte : text) tokens.push_back({*vocabulary_.byte_id(byte), begin, end});
    } else {
        tokens.push_back({known ? *known : *unknown_, begin, end});
    }
}

// The unknown token as what it stands for.
std::string_view Unigram::spelling(const PieceToken& found, std::string_view piece) const {
    return unknown_ == found.id ? piece.substr(found.begin, found.end - found.begin) : *token(found.id);
}

}  // namespace llmc
