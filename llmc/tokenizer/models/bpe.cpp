#include "llmc/tokenizer/models/bpe.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <queue>
#include <utility>

#include "llmc/core/error.h"
#include "llmc/core/utf8.h"

namespace llmc {

Bpe::Bpe(const JsonObject& model, BpeLists lists) {
    for (const char* option : {"continuing_subword_prefix", "end_of_word_suffix"}) {
        if (!model.string(option, "").empty()) model.fail_field(option, "empty (other values are not supported)");
    }
    if (model.number("dropout", 0, 1, 0) != 0) model.fail_field("dropout", "0 (random merges are not supported)");
    fuse_unknown_ = model.boolean("fuse_unk", false);
    byte_fallback_ = model.boolean("byte_fallback", false);
    ignore_merges_ = model.boolean("ignore_merges", false);

    read_vocabulary(model, std::move(lists.tokens));
    read_merges(model, lists.merges);
    for (int byte = 0; byte < 256; ++byte) {
        byte_ids_[byte] = vocabulary_.byte_id(static_cast<char>(byte)).value_or(-1);
    }
    if (model.has("unk_token")) {
        unknown_ = vocabulary_.id(model.string("unk_token"));
        if (!unknown_) model.fail_field("unk_token", "a token of the vocabulary");
    }
}

Bpe::Bpe(std::vector<ScoredToken> tokens, const std::vector<int32_t>& byte_ids, int32_t unknown)
    : unknown_(unknown), fuse_unknown_(true), byte_fallback_(!byte_ids.empty()) {
    std::ranges::fill(byte_ids_, -1);
    std::ranges::copy(byte_ids, byte_ids_);
    vocabulary_.reserve(tokens.size());
    std::ranges::sort(tokens, {}, &ScoredToken::id);
    for (const ScoredToken& token : tokens) add_token(token.text, token.id);

    std::ranges::stable_sort(tokens, std::ranges::greater(), &ScoredToken::score);
    int32_t rank = 0;  // equal scores have equal ranks: the leftmost is first
    for (size_t i = 0; i < tokens.size(); ++i) {
        const auto& [text, id, score] = tokens[i];
        if (i > 0 && score < tokens[i - 1].score) ++rank;
        for (size_t at = character_at(text, 0).size(); at < text.size(); at += character_at(text, at).size()) {
            const std::string_view left = text.substr(0, at);
            const std::string_view right = text.substr(at);
            const std::optional<int32_t> left_id = vocabulary_.id(left);
            const std::optional<int32_t> right_id = left_id ? vocabulary_.id(right) : std::nullopt;
            if (left_id && right_id) add_merge({left, *left_id}, {right, *right_id}, {rank, id});
        }
    }
}

void Bpe::read_vocabulary(const JsonObject& model, std::vector<BpeLists::Token> tokens) {
    model.object("vocab");  // refuses what is none, which the lists have passed over
    require(!tokens.empty(), model.field("vocab"), " is empty.");
    std::ranges::stable_sort(tokens, {}, &BpeLists::Token::id);
    vocabulary_.reserve(tokens.size());
    for (const auto& [id, text] : tokens) {
        if (id == vocabulary_.max_id()) {
            fail(model.field("vocab"), " gives the id ", id, " to two tokens, ", describe(*vocabulary_.token(id)),
                 " and ", describe(text), ".");
        }
        require(!vocabulary_.id(text), model.field("vocab"), " holds the token ", describe(text), " twice.");
        add_token(text, id);
    }
}

void Bpe::add_token(std::string_view text, int32_t id) {
    vocabulary_.add(text, id);
    if (text.empty() || utf8_sequence(text).length != static_cast<int>(text.size())) return;
    add_character(utf8_code_point(text), id);
}

void Bpe::add_merge(const Side& left, const Side& right, Merge merge) {
    merges_.add(left.id, right.id, merge);
    add_junction(utf8_code_point(character_before(left.text, left.text.size())),
                 utf8_code_point(character_at(right.text, 0)));
}

void Bpe::read_merges(const JsonObject& model, const std::vector<BpeLists::Merge>& merges) {
    if (!model.value("merges").is_array()) model.fail_field("merges", "a list");
    merges_.reserve(merges.size());
    int32_t rank = 0;
    std::string merged;
    for (const BpeLists::Merge& merge : merges) {
        const auto id_of = [&](const std::string& token) {
            const std::optional<int32_t> found = vocabulary_.id(token);
            if (!found) {
                fail(model.field("merges"), ": the pair of ", describe(merge.left), " and ", describe(merge.right),
                     " names ", describe(token), ", which is not in the vocabulary.");
            }
            return *found;
        };
        const Side left{merge.left, id_of(merge.left)};
        const Side right{merge.right, id_of(merge.right)};
        merged.assign(merge.left).append(merge.right);
        add_merge(left, right, {rank++, id_of(merged)});
    }
}

void Bpe::encode(std::string_view piece, std::vector<PieceToken>& tokens) const {
    if (ignore_merges_) {
        if (const std::optional<int32_t> whole = id(piece)) {
            tokens.assign(1, {*whole, 0, static_cast<uint32_t>(piece.size())});
            return;
        }
    }
    WordModel::encode(piece, tokens);
}

void Bpe::encode_word(std::string_view word, std::vector<PieceToken>& tokens) const {
    constexpr size_t kFew = 48;  // where looking at all pairs takes as long as keeping them sorted
    tokens = split_into_symbols(word);
    if (tokens.size() <= kFew) {
        merge_few(tokens);
    } else {
        merge_many(tokens);
    }
}

std::vector<PieceToken> Bpe::split_into_symbols(std::string_view word) const {
    std::vector<PieceToken> symbols;
    symbols.reserve(word.size());
    const auto push = [&](int32_t id, size_t length) {
        const uint32_t begin = symbols.empty() ? 0 : symbols.back().end;
        symbols.push_back({id, begin, begin + static_cast<uint32_t>(length)});
    };
    // The unknown token waits until a known character ends its run, because fuse_unk makes a run one token. Bytes do
    // not end it, as in Hugging Face's code.
    size_t unknown_length = 0;
    const auto end_unknown = [&] {
        if (unknown_length > 0) push(*unknown_, unknown_length);
        unknown_length = 0;
    };
    for (size_t offset = 0; offset < word.size();) {
        const std::string_view character = character_at(word, offset);
        offset += character.size();
        if (const int32_t known = character_id(utf8_code_point(character)); known >= 0) {
            end_unknown();
            push(known, character.size());
            continue;
        }
        const auto byte_id = [&](char byte) { return byte_ids_[static_cast<uint8_t>(byte)]; };
        if (byte_fallback_ && std::ranges::all_of(character, [&](char byte) { return byte_id(byte) >= 0; })) {
            for (const char byte : character) push(byte_id(byte), 1);
            continue;
        }
        if (!unknown_) continue;
        if (!fuse_unknown_) end_unknown();
        unknown_length += character.size();
    }
    end_unknown();
    return symbols;
}

// Looks at all pairs for each merge: O(n^2), and quick for a word.
void Bpe::merge_few(std::vector<PieceToken>& symbols) const {
    constexpr Merge kNone = {INT32_MAX, -1};
    std::vector<Merge> pairs(symbols.size(), kNone);  // by left symbol; the last stays kNone
    const auto look_up = [&](size_t left) {
        if (left + 1 >= symbols.size()) {
            pairs[left] = kNone;
            return;
        }
        const Merge* merge = merges_.find(symbols[left].id, symbols[left + 1].id);
        pairs[left] = merge ? *merge : kNone;
    };
    for (size_t i = 0; i < symbols.size(); ++i) look_up(i);
    while (!symbols.empty()) {
        const auto best = std::ranges::min_element(pairs, {}, &Merge::rank);
        if (best->id < 0) return;
        const size_t left = best - pairs.begin();
        symbols[left] = {best->id, symbols[left].begin, symbols[left + 1].end};
        symbols.erase(symbols.begin() + left + 1);
        pairs.erase(pairs.begin() + left + 1);
        look_up(left);
        if (left > 0) look_up(left - 1);
    }
}

// O(n log n): the symbols are a linked list, the mergeable pairs a heap. A merge makes the pairs around it stale; stale
// pairs are recognised when they are popped.
void Bpe::merge_many(std::vector<PieceToken>& symbols) const {
    struct Candidate {
        int32_t rank;
        int32_t position;  // of the left symbol
        int32_t id;
        bool operator>(const Candidate& other) const {
            return rank != other.rank ? rank > other.rank : position > other.position;
        }
    };
    struct Links {
        int32_t previous, next;  // -1: none
    };
    constexpr int32_t kGone = -1;  // a symbol that its left neighbour has swallowed

    const auto n = static_cast<int32_t>(symbols.size());
    std::vector<Links> links(n);
    std::vector<Candidate> candidates;
    for (int32_t i = 0; i < n; ++i) {
        links[i] = {i - 1, i + 1 < n ? i + 1 : -1};
        if (i + 1 == n) break;
        if (const auto* merge = merges_.find(symbols[i].id, symbols[i + 1].id))
            candidates.push_back({merge->rank, i, merge->id});
    }
    if (candidates.empty()) return;
    std::priority_queue heap(std::greater<Candidate>{}, std::move(candidates));

    while (!heap.empty()) {
        const auto [rank, left, id] = heap.top();
        heap.pop();
        if (symbols[left].id == kGone || links[left].next == -1) continue;
        const int32_t right = links[left].next;
        // Hugging Face compares the outcome, not the pair; so do we, to break ties alike.
        const auto* merge = merges_.find(symbols[left].id, symbols[right].id);

        if (!merge || merge->id != id) continue;

        symbols[left] = {id, symbols[left].begin, symbols[right].end};
        symbols[right].id = kGone;
        const int32_t next = links[left].next = links[right].next;
        if (next != -1) links[next].previous = left;

        const int32_t previous = links[left].previous;
        if (previous != -1) {
            if (const auto* pair = merges_.find(symbols[previous].id, id)) heap.push({pair->rank, previous, pair->id});
        }
        if (next != -1) {
            if (const auto* pair = merges_.find(id, symbols[next].id)) heap.push({pair->rank, left, pair->id});
        }
    }
    std::erase_if(symbols, [](const PieceToken& symbol) { return symbol.id == kGone; });
}

}  // namespace llmc
