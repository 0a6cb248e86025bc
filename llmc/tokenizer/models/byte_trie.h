// The beginnings of a set of texts as a tree: from its root, node 0, the bytes of a text lead to its node.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "llmc/tokenizer/models/pair_table.h"

namespace llmc {

class ByteTrie {
  public:
    static constexpr int32_t kRoot = 0;
    // A search from each byte of a text looks at so many bytes at most. Refused by who adds texts to search for; known
    // tokens have up to 256 bytes, and SentencePiece has the same bound.
    static constexpr size_t kLongest = 1024;

    // The node of a text, which is added if it is new.
    int32_t add(std::string_view text) {
        int32_t node = kRoot;
        for (const char c : text) {
            const auto byte = static_cast<uint8_t>(c);
            int32_t next = this->next(node, c);
            if (next < 0) {
                next = size_++;
                edges_.add(node, byte, next);
            }
            node = next;
        }
        return node;
    }

    // Where a byte leads to, or -1.
    int32_t next(int32_t node, char byte) const {
        const int32_t* found = edges_.find(node, static_cast<uint8_t>(byte));
        return found ? *found : -1;
    }

    int32_t size() const { return size_; }  // nodes

  private:
    PairTable<int32_t> edges_;
    int32_t size_ = 1;
};

}  // namespace llmc
