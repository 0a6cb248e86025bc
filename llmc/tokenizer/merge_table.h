// The merges of byte-pair encoding: for two neighbouring tokens, the token they become and how early in the list that
// is. An open hash table with linear probing: this look-up is where encoding spends its time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace llmc {

class MergeTable {
  public:
    struct Merge {
        int32_t rank = -1;  // position in the list of merges
        int32_t id = -1;    // of the merged token
    };

    explicit MergeTable(size_t merges = 0);  // at most so many are added

    // A pair added again has the later rank.
    void add(int32_t left, int32_t right, Merge merge);

    const Merge* find(int32_t left, int32_t right) const {  // null: the two do not merge
        const uint64_t key = key_of(left, right);
        for (size_t i = slot_of(key);; i = (i + 1) & mask_) {
            if (slots_[i].key == key) return &slots_[i].merge;
            if (slots_[i].key == kFree) return nullptr;
        }
    }

  private:
    static constexpr uint64_t kFree = UINT64_MAX;  // ids are not negative
    struct Slot {
        uint64_t key = kFree;
        Merge merge;
    };

    static uint64_t key_of(int32_t left, int32_t right) {
        return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
    }
    // Fibonacci hashing: the high bits of a product with 2^64 / golden ratio.
    size_t slot_of(uint64_t key) const { return static_cast<size_t>((key ^ key >> 29) * 0x9E3779B97F4A7C15 >> shift_); }

    int shift_;
    size_t mask_;
    std::vector<Slot> slots_;
};

}  // namespace llmc
