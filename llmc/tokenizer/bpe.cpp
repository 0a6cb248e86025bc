#include "llmc/tokenizer/bpe.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <queue>

#include "llmc/core/error.h"
#include "llmc/io/json.h"
#include "llmc/tokenizer/utf8.h"

namespace llmc {

namespace {

// The largest vocabulary known is 256 thousand. A larger id is a damaged file.
constexpr int64_t kMaxTokenId = (int64_t{1} << 24) - 1;

constexpr size_t kCachedWords = 1 << 16;
constexpr size_t kLongestCachedWord = 256;  // bytes

uint64_t pair_key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

Bpe::Bpe(const JsonObject& model) {
    for (const char* option : {"continuing_subword_prefix", "end_of_word_suffix"}) {
        if (!model.string(option, "").empty()) model.fail_field(option, "empty (other values are not supported)");
    }
    if (model.number("dropout", 0, 1, 0) != 0) model.fail_field("dropout", "0 (random merges are not supported)");
    fuse_unknown_ = model.boolean("fuse_unk", false);
    byte_fallback_ = model.boolean("byte_fallback", false);
    ignore_merges_ = model.boolean("ignore_merges", false);

    read_vocabulary(model);
    read_merges(model);

    for (int byte = 0; byte < 256; ++byte) {
        constexpr const char* kHex = "0123456789ABCDEF";
        byte_ids_[byte] = id(std::string{'<', '0', 'x', kHex[byte >> 4], kHex[byte & 15], '>'}).value_or(-1);
    }
    if (model.has("unk_token")) {
        unknown_ = id(model.string("unk_token"));
        if (!unknown_) model.fail_field("unk_token", "a token of the vocabulary");
    }
}

void Bpe::read_vocabulary(const JsonObject& model) {
    const JsonObject vocabulary = model.object("vocab");
    require(!vocabulary.tree().empty(), model.field("vocab"), " is empty.");
    ids_.reserve(vocabulary.tree().size());
    for (const auto& [token, number] : vocabulary.tree().items()) {
        const int64_t id = vocabulary.integer(token, 0, kMaxTokenId);
        const auto [known, is_new] = tokens_.try_emplace(static_cast<int32_t>(id));
        if (!is_new) {
            fail(model.field("vocab"), " gives the id ", id, " to two tokens, ", describe(*known->second), " and ",
                 describe(token), ".");
        }
        known->second = &ids_.emplace(token, static_cast<int32_t>(id)).first->first;
        max_id_ = std::max(max_id_, static_cast<int32_t>(id));
    }
}

void Bpe::read_merges(const JsonObject& model) {
    const nlohmann::json& merges = model.value("merges");
    if (!merges.is_array()) model.fail_field("merges", "a list");
    merges_.reserve(merges.size());
    int32_t rank = 0;
    std::string merged;
    for (size_t i = 0; i < merges.size(); ++i) {
        const nlohmann::json& merge = merges[i];
        std::string_view left, right;
        // ["a", "b"] since tokenizers 0.20, "a b" before
        if (merge.is_string()) {
            const std::string_view line = merge.get_ref<const std::string&>();
            if (line.starts_with("#version")) continue;
            const size_t space = line.find(' ');
            if (space != line.npos && line.find(' ', space + 1) == line.npos) {
                left = line.substr(0, space);
                right = line.substr(space + 1);
            }
        } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
            left = merge[0].get_ref<const std::string&>();
            right = merge[1].get_ref<const std::string&>();
        }
        if (left.empty() || right.empty()) {
            fail(model.field("merges"), ", entry ", i, ": must be two tokens, \"a b\" or [\"a\", \"b\"], found ",
                 describe(merge), ".");
        }
        const auto id_of = [&](std::string_view token) {
            const std::optional<int32_t> found = id(token);
            if (!found) {
                fail(model.field("merges"), ", entry ", i, ": ", describe(merge), " names ",
                     describe(std::string(token)), ", which is not in the vocabulary.");
            }
            return *found;
        };
        const int32_t left_id = id_of(left);
        const int32_t right_id = id_of(right);
        merged.assign(left).append(right);
        merges_[pair_key(left_id, right_id)] = {rank++, id_of(merged)};
    }
}

std::optional<int32_t> Bpe::id(std::string_view token) const {
    const auto it = ids_.find(token);
    return it == ids_.end() ? std::nullopt : std::optional(it->second);
}

const std::string* Bpe::token(int32_t id) const {
    const auto it = tokens_.find(id);
    return it == tokens_.end() ? nullptr : it->second;
}

const Bpe::Merge* Bpe::find_merge(int32_t left, int32_t right) const {
    const auto it = merges_.find(pair_key(left, right));
    return it == merges_.end() ? nullptr : &it->second;
}

void Bpe::encode(std::string_view piece, std::vector<int32_t>& ids) const {
    if (ignore_merges_) {
        if (const std::optional<int32_t> whole = id(piece)) {
            ids.push_back(*whole);
            return;
        }
    }
    const bool cacheable = piece.size() <= kLongestCachedWord;
    if (cacheable) {
        const std::lock_guard lock(cache_mutex_);
        if (const auto it = cache_.find(piece); it != cache_.end()) {
            ids.insert(ids.end(), it->second.begin(), it->second.end());
            return;
        }
    }
    std::vector<int32_t> symbols = split_into_symbols(piece);
    merge(symbols);
    ids.insert(ids.end(), symbols.begin(), symbols.end());
    if (cacheable) {
        const std::lock_guard lock(cache_mutex_);
        if (cache_.size() < kCachedWords) cache_.emplace(piece, std::move(symbols));
    }
}

std::vector<int32_t> Bpe::split_into_symbols(std::string_view piece) const {
    std::vector<int32_t> symbols;
    symbols.reserve(piece.size());
    // The unknown token waits until a known character ends its run, because fuse_unk makes a run one token. Bytes do
    // not end it, as in Hugging Face's code.
    bool unknown_waits = false;
    for (size_t offset = 0; offset < piece.size();) {
        const int length = utf8_sequence(piece.substr(offset)).length;
        const std::string_view character = piece.substr(offset, length);
        offset += length;
        if (const std::optional<int32_t> known = id(character)) {
            if (unknown_waits) symbols.push_back(*unknown_);
            unknown_waits = false;
            symbols.push_back(*known);
            continue;
        }
        const auto byte_id = [&](char byte) { return byte_ids_[static_cast<uint8_t>(byte)]; };
        if (byte_fallback_ && std::ranges::all_of(character, [&](char byte) { return byte_id(byte) >= 0; })) {
            std::ranges::transform(character, std::back_inserter(symbols), byte_id);
            continue;
        }
        if (!unknown_) continue;
        if (unknown_waits && !fuse_unknown_) symbols.push_back(*unknown_);
        unknown_waits = true;
    }
    if (unknown_waits) symbols.push_back(*unknown_);
    return symbols;
}

// O(n log n): the symbols are a linked list, the mergeable pairs a heap. A merge makes the pairs around it stale; stale
// pairs are recognised when they are popped.
void Bpe::merge(std::vector<int32_t>& symbols) const {
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
        if (const Merge* merge = find_merge(symbols[i], symbols[i + 1]))
            candidates.push_back({merge->rank, i, merge->id});
    }
    if (candidates.empty()) return;
    std::priority_queue heap(std::greater<Candidate>{}, std::move(candidates));

    while (!heap.empty()) {
        const auto [rank, left, id] = heap.top();
        heap.pop();
        if (symbols[left] == kGone || links[left].next == -1) continue;
        const int32_t right = links[left].next;
        // Hugging Face compares the outcome, not the pair; so do we, to break ties alike.
        const Merge* merge = find_merge(symbols[left], symbols[right]);

        if (!merge || merge->id != id) continue;

        symbols[left] = id;
        symbols[right] = kGone;
        const int32_t next = links[left].next = links[right].next;
        if (next != -1) links[next].previous = left;

        const int32_t previous = links[left].previous;
        if (previous != -1) {
            if (const Merge* pair = find_merge(symbols[previous], id)) heap.push({pair->rank, previous, pair->id});
        }
        if (next != -1) {
            if (const Merge* pair = find_merge(id, symbols[next])) heap.push({pair->rank, left, pair->id});
        }
    }
    std::erase(symbols, kGone);
}

}  // namespace llmc
