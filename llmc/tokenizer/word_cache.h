// Words recur: remembers the tokens of the first words that come, a bounded number of short ones.
//
// A table of slots, each empty until a word takes it, for good. A word looks in a few slots beginning at its hash.
// Threads share the table without locks: an entry is complete before its slot points to it (release, acquire), and is
// never changed after.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "llmc/tokenizer/token_model.h"

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
    static constexpr size_t kSlots = size_t{1} << 17;
    static constexpr size_t kTries = 4;
    static constexpr size_t kLongest = 128;  // bytes

    struct Entry {
        std::string word;
        std::vector<PieceToken> tokens;
    };

    std::unique_ptr<std::atomic<const Entry*>[]> slots_ = std::make_unique<std::atomic<const Entry*>[]>(kSlots);
};

}  // namespace llmc
