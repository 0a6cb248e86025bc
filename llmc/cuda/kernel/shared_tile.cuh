// Rows in shared memory, in chunks of 16 bytes.
//
// ldmatrix reads one chunk of eight successive rows at once. They must lie in different banks, which are eight times 16
// bytes wide: within a row, the index of a chunk is xored with as many bits of the row as the row's length leaves in
// the same bank. That costs no memory, where padding would.
#pragma once

#include <algorithm>
#include <bit>

#include "llmc/cuda/device.cuh"

namespace cuda {

template <class T, int kColumns>
struct SharedTile {
    static constexpr int kOfChunk = 16 / sizeof(T);
    static constexpr int kChunks = kColumns / kOfChunk;
    static constexpr int kSwizzleBits = std::min(3, std::countr_zero(static_cast<unsigned>(kChunks)));

    T* data;

    __device__ T* chunk(int row, int index) const {
        const int swizzle = (row >> (3 - kSwizzleBits)) & ((1 << kSwizzleBits) - 1);
        return data + (row * kChunks + (index ^ swizzle)) * kOfChunk;
    }

    // The same of index even + odd, where `even` is an even constant and `odd` is 0 or 1: all `even` that agree in the
    // bits the swizzle can change share the variable part of the address.
    __device__ T* chunk(int row, int even, int odd) const {
        constexpr int kSwizzled = (1 << kSwizzleBits) - 1;
        const int swizzle = (row >> (3 - kSwizzleBits)) & kSwizzled;
        return data + row * kChunks * kOfChunk + (odd ^ swizzle ^ (even & kSwizzled)) * kOfChunk +
               (even & ~kSwizzled) * kOfChunk;
    }

    // Where the next tile may begin.
    __device__ T* after(int rows) const { return data + rows * kColumns; }
};

}  // namespace cuda
