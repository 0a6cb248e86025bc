// Weights in four bits: NF4 with double quantisation. Dettmers et al. 2023, arXiv 2305.14314, section 3.
//
// A row of W is cut into blocks of 64, the last one shorter. A block has a scale, its largest magnitude m, and each of
// its weights the nearest of sixteen levels, which are the quantiles of a normal distribution scaled to [-1, 1]:
//
//   code[o,i] = argmin_k |level[k] - W[o,i] / m[b]|                b = o nf4_blocks(I) + i / 64
//   W[o,i]   ~= level[code[o,i]] m[b]
//
// The scales are quantised again, to 8-bit floats (E4M3) with a factor for every 256 of them, after their mean over
// the matrix is taken off:
//
//   m[b]     ~= mean + factor[b / 256] e4m3[b],    factor[g] = max_b |m[b] - mean| / 448
//
// 4.13 bits a weight in all. Two codes share a byte, the first in the low half.
#pragma once

#include <bit>
#include <cstdint>

#include "llmc/core/integers.h"
#include "llmc/core/philox.h"
#include "llmc/core/tensor.h"

namespace llmc {

constexpr int64_t kNf4Block = 64, kNf4Group = 256;

constexpr int64_t nf4_blocks(int64_t cols) {
    return ceil_div(cols, kNf4Block);
}
constexpr int64_t nf4_groups(int64_t blocks) {
    return ceil_div(blocks, kNf4Group);
}
// Of a row of codes: whole words of eight.
constexpr int64_t nf4_bytes(int64_t cols) {
    return 4 * ceil_div(cols, 8);
}

// The levels, from the paper's appendix E.
LLMC_HOST_DEVICE inline float nf4_level(int code) {
    static constexpr float kLevels[16] = {-1.0f,
                                          -0.6961928009986877f,
                                          -0.5250730514526367f,
                                          -0.39491748809814453f,
                                          -0.28444138169288635f,
                                          -0.18477343022823334f,
                                          -0.09105003625154495f,
                                          0.0f,
                                          0.07958029955625534f,
                                          0.16093020141124725f,
                                          0.24611230194568634f,
                                          0.33791524171829224f,
                                          0.44070982933044434f,
                                          0.5626170039176941f,
                                          0.7229568362236023f,
                                          1.0f};
    return kLevels[code];
}

constexpr float kLargestE4m3 = 448;

// Of a code that encode_e4m3() made: neither infinity nor NaN.
LLMC_HOST_DEVICE inline float decode_e4m3(uint8_t code) {
    const uint32_t magnitude = code & 0x7fu;
    const float value = magnitude < 8 ? static_cast<float>(magnitude) * 0x1p-9f
                                      : std::bit_cast<float>((magnitude << 20) + (uint32_t{120} << 23));
    return (code & 0x80u) != 0 ? -value : value;
}

// The nearest, ties to even. |x| <= 448.
inline uint8_t encode_e4m3(float x) {
    const uint32_t bits = std::bit_cast<uint32_t>(x), magnitude = bits & 0x7fffffffu;
    const float absolute = std::bit_cast<float>(magnitude);
    uint32_t code = 0;
    if (absolute < 0x1p-6f) {  // adding 2^23 rounds to an integer
        code = std::bit_cast<uint32_t>(absolute * 512.0f + 0x1p23f) & 0xfu;
    } else {
        code = ((magnitude + 0x7ffffu + (magnitude >> 20 & 1u)) >> 20) - (uint32_t{120} << 3);
    }
    return static_cast<uint8_t>((code > 0x7e ? 0x7e : code) | (bits >> 31 << 7));
}

// W [O,I] on a device.
struct Nf4Matrix {
    Matrix<const uint8_t> codes;          // [O, nf4_bytes(I)]
    int64_t cols = 0;                     // I
    const uint8_t* maxima = nullptr;      // m - mean, E4M3 [O nf4_blocks(I)]
    const float* group_factor = nullptr;  // [nf4_groups()]
    float mean = 0;

    // m of the block that holds element (row, col).
    LLMC_HOST_DEVICE float maximum(int64_t row, int64_t col) const {
        const int64_t block = row * ((cols + kNf4Block - 1) / kNf4Block) + col / kNf4Block;
        return mean + group_factor[block / kNf4Group] * decode_e4m3(maxima[block]);
    }
    // The level of element (row, col).
    LLMC_HOST_DEVICE float level(int64_t row, int64_t col) const {
        const int pair = codes(row, col / 2);
        return nf4_level(col % 2 == 0 ? pair & 15 : pair >> 4);
    }
};

}  // namespace llmc
