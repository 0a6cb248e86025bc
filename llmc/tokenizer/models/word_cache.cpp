#include "llmc/tokenizer/models/word_cache.h"

#include <memory>

namespace llmc {

WordCache::~WordCache() {
    for (const std::atomic<Page*>& place : pages_) {
        const std::unique_ptr<Page> page(place.load(std::memory_order_relaxed));
        if (!page) continue;
        for (const std::atomic<const Entry*>& slot : *page) delete slot.load(std::memory_order_relaxed);
    }
}

const std::vector<PieceToken>* WordCache::find(std::string_view word) const {
    if (word.size() > kLongest) return nullptr;
    const size_t hash = std::hash<std::string_view>{}(word);
    const Page* page = pages_[page_of(hash)].load(std::memory_order_acquire);
    for (size_t i = 0; page && i < kTries; ++i) {
        const Entry* entry = (*page)[slot_of(hash, i)].load(std::memory_order_acquire);
        if (!entry) return nullptr;
        if (entry->word == word) return &entry->tokens;
    }
    return nullptr;
}

WordCache::Page& WordCache::page(size_t index) {
    Page* there = pages_[index].load(std::memory_order_acquire);
    if (there) return *there;
    auto page = std::make_unique<Page>();
    if (!pages_[index].compare_exchange_strong(there, page.get(), std::memory_order_acq_rel)) return *there;
    return *page.release();
}

void WordCache::add(std::string_view word, const std::vector<PieceToken>& tokens) {
    if (word.size() > kLongest) return;
    const size_t hash = std::hash<std::string_view>{}(word);
    Page& page = this->page(page_of(hash));
    std::unique_ptr<const Entry> entry;
    for (size_t i = 0; i < kTries; ++i) {
        std::atomic<const Entry*>& slot = page[slot_of(hash, i)];
        const Entry* taken = slot.load(std::memory_order_acquire);
        if (!taken && !entry) entry.reset(new Entry{std::string(word), tokens});
        if (!taken && slot.compare_exchange_strong(taken, entry.get(), std::memory_order_acq_rel)) {
            entry.release();
            return;
        }
        if (taken && taken->word == word) return;  // another thread was faster
    }
}

}  // namespace llmc
