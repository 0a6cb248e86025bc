#include "llmc/tokenizer/word_cache.h"

namespace llmc {

WordCache::~WordCache() {
    for (size_t i = 0; i < kSlots; ++i) delete slots_[i].load(std::memory_order_relaxed);
}

const std::vector<PieceToken>* WordCache::find(std::string_view word) const {
    if (word.size() > kLongest) return nullptr;
    const size_t hash = std::hash<std::string_view>{}(word);
    for (size_t i = 0; i < kTries; ++i) {
        const Entry* entry = slots_[(hash + i) % kSlots].load(std::memory_order_acquire);
        if (!entry) return nullptr;
        if (entry->word == word) return &entry->tokens;
    }
    return nullptr;
}

void WordCache::add(std::string_view word, const std::vector<PieceToken>& tokens) {
    if (word.size() > kLongest) return;
    const size_t hash = std::hash<std::string_view>{}(word);
    std::unique_ptr<const Entry> entry;
    for (size_t i = 0; i < kTries; ++i) {
        std::atomic<const Entry*>& slot = slots_[(hash + i) % kSlots];
        const Entry* taken = slot.load(std::memory_order_acquire);
        if (!taken) {
            if (!entry) entry.reset(new Entry{std::string(word), tokens});
            if (slot.compare_exchange_strong(taken, entry.get(), std::memory_order_acq_rel)) {
                entry.release();
                return;
            }
        }
        if (taken->word == word) return;  // another thread was faster
    }
}

}  // namespace llmc
