// The linears of some blocks, one after the other.
#pragma once

#include <span>

#include "quaff/model/block_buffers.h"

namespace quaff {

// Every linear of some blocks, in the order they run: for (QuantizedLinear<Device>& linear : linears_of(blocks)).
template <class Block>
class LinearsOf {
  public:
    struct Iterator {
        Block* block;
        int k;
        auto& operator*() const { return block->linears[k]; }
        Iterator& operator++() {
            if (++k == kLayersPerBlock) {
                k = 0;
                ++block;
            }
            return *this;
        }
        bool operator==(const Iterator&) const = default;
    };

    explicit LinearsOf(std::span<Block> blocks) : blocks_(blocks) {}
    Iterator begin() const { return {blocks_.data(), 0}; }
    Iterator end() const { return {blocks_.data() + blocks_.size(), 0}; }

  private:
    std::span<Block> blocks_;
};

template <class Blocks>
auto linears_of(Blocks& blocks) {
    return LinearsOf(std::span(blocks));
}

}  // namespace quaff
