#include "llmc/tokenizer/models/vocabulary.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <utility>

namespace llmc {

namespace {

uint32_t hash_of(std::string_view text) {
    return static_cast<uint32_t>(std::hash<std::string_view>{}(text));
}

}  // namespace

void Vocabulary::reserve(size_t tokens) {
    tokens_.reserve(tokens);
    grow(std::bit_ceil(2 * tokens + 2));
}

// The slot of the text, or the free one where it would be.
size_t Vocabulary::slot_of(std::string_view text, uint32_t hash) const {
    const size_t mask = slots_.size() - 1;
    size_t i = hash & mask;
    while (slots_[i].token >= 0 && (slots_[i].hash != hash || tokens_[slots_[i].token].text != text))
        i = (i + 1) & mask;
    return i;
}

void Vocabulary::grow(size_t slots) {
    if (slots <= slots_.size()) return;
    const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(slots));
    for (const Slot& slot : old) {
        if (slot.token >= 0) slots_[slot_of(tokens_[slot.token].text, slot.hash)] = slot;
    }
}

void Vocabulary::add(std::string_view text, int32_t id) {
    grow(std::bit_ceil(2 * tokens_.size() + 4));
    const uint32_t hash = hash_of(text);
    slots_[slot_of(text, hash)] = {hash, size()};
    tokens_.push_back({id, std::string(text)});
}

std::optional<int32_t> Vocabulary::id(std::string_view text) const {
    if (slots_.empty()) return std::nullopt;
    const int32_t token = slots_[slot_of(text, hash_of(text))].token;
    return token < 0 ? std::nullopt : std::optional(tokens_[token].id);
}

const std::string* Vocabulary::token(int32_t id) const {
    // Most vocabularies have all ids from 0.
    if (id >= 0 && id < size() && tokens_[id].id == id) return &tokens_[id].text;
    const auto found = std::ranges::lower_bound(tokens_, id, {}, &Token::id);
    return found == tokens_.end() || found->id != id ? nullptr : &found->text;
}

std::string Vocabulary::byte_token(char byte) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    return {'<', '0', 'x', kHex[static_cast<uint8_t>(byte) >> 4], kHex[byte & 15], '>'};
}

}  // namespace llmc
