#include "llmc/tokenizer/vocabulary.h"

#include <algorithm>

namespace llmc {

void Vocabulary::reserve(size_t tokens) {
    ids_.reserve(tokens);
    tokens_.reserve(tokens);
}

const std::string* Vocabulary::add(std::string token, int32_t id) {
    const auto [known, is_new] = tokens_.try_emplace(id);
    if (!is_new) return known->second;
    const auto entry = ids_.try_emplace(std::move(token)).first;
    entry->second = id;
    known->second = &entry->first;
    max_id_ = std::max(max_id_, id);
    return nullptr;
}

std::optional<int32_t> Vocabulary::id(std::string_view token) const {
    const auto it = ids_.find(token);
    return it == ids_.end() ? std::nullopt : std::optional(it->second);
}

const std::string* Vocabulary::token(int32_t id) const {
    const auto it = tokens_.find(id);
    return it == tokens_.end() ? nullptr : it->second;
}

std::optional<int32_t> Vocabulary::byte_id(char byte) const {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    const char token[] = {'<', '0', 'x', kHex[static_cast<uint8_t>(byte) >> 4], kHex[byte & 15], '>'};
    return id(std::string_view(token, sizeof token));
}

}  // namespace llmc
