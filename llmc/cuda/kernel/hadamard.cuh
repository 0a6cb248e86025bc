// Rows turned by a block-diagonal Hadamard matrix (llmc/core/hadamard.h), in registers: v = v H.
//
// A lane holds eight neighbouring columns. Sums and differences of columns 1, 2 and 4 apart are within its Eight, those
// of columns 8, 16 and 32 apart are of its Eight and that of the lane 1, 2 or 4 further: every device adds in this
// order, so all make the same bits of the same floats.
#pragma once

#include "llmc/core/hadamard.h"
#include "llmc/cuda/kernel/row_block.cuh"

namespace cuda {

// Columns 1, 2 and 4 apart.
__device__ inline void hadamard_within(Eight<float>& v) {
#pragma unroll
    for (int apart = 1; apart < 8; apart *= 2) {
#pragma unroll
        for (int k = 0; k < 8; k++) {
            if ((k & apart) != 0) continue;
            const float left = v[k], right = v[k + apart];
            v[k] = left + right;
            v[k + apart] = left - right;
        }
    }
}

// Columns of this Eight and of the one that the lane `apart` further holds. All lanes of the warp call it.
__device__ inline void hadamard_between(Eight<float>& v, int apart) {
    const bool right = (threadIdx.x & static_cast<unsigned>(apart)) != 0;
#pragma unroll
    for (int k = 0; k < 8; k++) {
        const float other = __shfl_xor_sync(kFullMask, v[k], apart);
        v[k] = right ? other - v[k] : v[k] + other;
    }
}

__device__ inline void scale_eight(Eight<float>& v, float factor) {
#pragma unroll
    for (int k = 0; k < 8; k++) v[k] *= factor;
}

// v = v H, where lane l of the warp holds columns 8 l .. 8 l + 7 of a row, or of several rows one after the other. All
// lanes call it, with the same block; 0 leaves v as it is.
__device__ inline void rotate_eight(Eight<float>& v, int block) {
    if (block == 0) return;
    hadamard_within(v);
    for (int apart = 1; 16 * apart <= block; apart *= 2) hadamard_between(v, apart);
    scale_eight(v, hadamard_factor(block));
}

}  // namespace cuda
