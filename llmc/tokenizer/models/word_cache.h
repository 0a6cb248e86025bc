// Words recur: remembers the tokens of the first words that come, a bounded number of short ones.
//
// A table of slots, each empty until a word takes it, for good. The slots lie in pages, each of which is there once it
// is needed; a word looks in a few slots of one page, beginning at its hash. Threads share the table without locks: a
// page or an entry is complete before the table points to it (release, acquire), and is never moved or removed after.
#pragma once

#include <array>
#include <atomic>
#include <string>
#include <string_view>
#include <vector>

#include "llmc/tokenizer/models/token_model.h"

namespace llmc {

class WordCache {
  public:
    WordCache() = default;
    ~WordCache();
    WordCache(const WordCache&) = delete;
    WordCache& operator=(const WordCache&) = delete;

    // The tokens of a word, or null if they are not known.
    const std::vector<PieceToken>* find(std::string_view word) const;

    // Remembers them, if there is room.
    void add(std::string_view word, const std::vector<PieceToken>& tokens);

  private:
    static constexpr size_t kPages = 512;
    static constexpr size_t kSlots = 256;    // of a page
    static constexpr size_t kTries = 4;      // slots that a word looks in
    static constexpr size_t kLongest = 128;  // bytes of a word

    struct Entry {
        std::string word;
        std::vector<PieceToken> tokens;
    };
    using Page = std::array<std::atomic<const Entry*>, kSlots>;

    static size_t page_of(size_t hash) { return hash % kPages; }
    static size_t slot_of(size_t hash, size_t attempt) { return (hash / kPages + attempt) % kSlots; }
    Page& page(size_t index);

    std::array<std::atomic<Page*>, kPages> pages_ = {};
};

}  // namespace llmc
