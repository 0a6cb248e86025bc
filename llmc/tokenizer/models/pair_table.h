// A map from pairs of numbers that are not negative: the merges of byte-pair encoding, by two tokens, or the edges of a
// trie, by node and byte. An open hash table with linear probing, because encoding spends its time in these look-ups.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace llmc {

template <class Value>
class PairTable {
  public:
    PairTable() { resize(16); }

    void reserve(size_t pairs) {
        if (2 * pairs > slots_.size()) resize(std::bit_ceil(2 * pairs));
    }

    // A pair added again has the later value.
    void add(int32_t first, int32_t second, const Value& value) {
        reserve(size_ + 1);
        Slot& slot = slots_[slot_of(key_of(first, second))];
        if (slot.key == kFree) ++size_;
        slot = {key_of(first, second), value};
    }

    const Value* find(int32_t first, int32_t second) const {
        const Slot& slot = slots_[slot_of(key_of(first, second))];
        return slot.key == kFree ? nullptr : &slot.value;
    }

  private:
    static constexpr uint64_t kFree = UINT64_MAX;
    struct Slot {
        uint64_t key = kFree;
        Value value{};
    };

    static uint64_t key_of(int32_t first, int32_t second) {
        return static_cast<uint64_t>(static_cast<uint32_t>(first)) << 32 | static_cast<uint32_t>(second);
    }

    // The slot of the key, or the free one where it would be.
    size_t slot_of(uint64_t key) const {
        // Fibonacci hashing: the high bits of a product with 2^64 / golden ratio.
        size_t i = static_cast<size_t>((key ^ key >> 29) * 0x9E3779B97F4A7C15 >> shift_);
        while (slots_[i].key != key && slots_[i].key != kFree) i = (i + 1) & (slots_.size() - 1);
        return i;
    }

    void resize(size_t slots) {
        const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(slots));
        shift_ = 64 - std::countr_zero(slots);
        for (const Slot& slot : old) {
            if (slot.key != kFree) slots_[slot_of(slot.key)] = slot;
        }
    }

    std::vector<Slot> slots_;  // a power of two of them, at most half used
    size_t size_ = 0;
    int shift_ = 0;
};

}  // namespace llmc
