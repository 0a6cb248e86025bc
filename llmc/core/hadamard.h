// The rotation that spreads a row's large values over their neighbours before the row is quantised.
//
//   v = x H,   H = diag(H_b, .., H_b) [I,I],   H_1 = 1,   H_2b = [ H_b  H_b ]  / sqrt(2)
//                                                              [ H_b -H_b ]
//
// H is symmetric and its own inverse, so x W^T = (x H) (W H)^T. Sylvester 1867; for quantisation: QuaRot, Ashkboos et
// al. 2024, arXiv 2404.00456.
#pragma once

#include <cstdint>

#include "llmc/core/philox.h"

namespace llmc {

inline constexpr int64_t kLargestHadamard = 64, kSmallestHadamard = 8;

// The b for rows of `width` elements: the largest power of two that divides it, at most 64. 0, no rotation, if that is
// less than 8.
constexpr int64_t hadamard_block(int64_t width) {
    int64_t block = kLargestHadamard;
    while (block >= kSmallestHadamard && width % block != 0) block /= 2;
    return block >= kSmallestHadamard && width > 0 ? block : 0;
}

// What the sums and differences of a block are multiplied by: 1 / sqrt(b).
LLMC_HOST_DEVICE constexpr float hadamard_factor(int64_t block) {
    return block == 64 ? 0.125f : block == 32 ? 0.176776695f : block == 16 ? 0.25f : 0.353553391f;
}

}  // namespace llmc
