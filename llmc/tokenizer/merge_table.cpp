#include "llmc/tokenizer/merge_table.h"

#include <bit>

namespace llmc {

MergeTable::MergeTable(size_t merges) {
    const size_t slots = std::bit_ceil(2 * merges + 2);  // at most half full
    shift_ = 64 - std::countr_zero(slots);
    mask_ = slots - 1;
    slots_.resize(slots);
}

void MergeTable::add(int32_t left, int32_t right, Merge merge) {
    const uint64_t key = key_of(left, right);
    size_t i = slot_of(key);
    while (slots_[i].key != kFree && slots_[i].key != key) i = (i + 1) & mask_;
    slots_[i] = {key, merge};
}

}  // namespace llmc
