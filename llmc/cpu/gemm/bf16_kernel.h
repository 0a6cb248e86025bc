// Kernels of the bf16 GEMMs (bf16_tiles.h): how pairs of bf16 numbers are packed and multiplied. The portable one is
// here; bf16_avx512.h has the other.
//
// Neighbours in k are packed as a pair, the lower k in the lower half of 32 bits; a missing second one is 0:
//
//   of a panel of op(b)    pair k/2 of column n at [k/2 * kPanel + n]
//   of rows of op(a)       pair k/2 of row m at [m * kPairStride + k/2], or, where a lies transposed, [k/2 * kRows + m]
//
// A Kernel has, all static:
//
//   kBlockRows                                 most rows that multiply() takes
//   pack_panel(out, b, cols, depth)            `cols` columns of op(b), and 0 for the rest of what multiply() reads
//   pack_rows(out, a, rows, depth)
//   multiply<R, kAlongK>(a, b, pairs, out)     y = alpha (R rows of op(a) times a panel) + beta y
//
// Numbers are rounded to nearest, ties to even. The sums of a kernel do not depend on where a panel begins. Two kernels
// add in different orders, and AVX512_BF16 takes subnormal numbers (below 2^-126) for 0.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "llmc/core/dtype.h"

namespace cpu::bf16 {

constexpr int64_t kDepth = 512;                   // terms of a sum that are packed at a time
constexpr int64_t kPanel = 32;                    // columns of b
constexpr int64_t kRows = 48;                     // rows of a that are packed at a time
constexpr int64_t kPairStride = kDepth / 2 + 16;  // of packed rows of a; a power of two would share few cache sets

// op(x), of floats or the bits of bf16 numbers, of which element (i, k) lies at data[i * stride + k] if `along_k`, else
// at data[k * stride + i].
template <class T>
struct Operand {
    const T* data;
    int64_t stride;
    bool along_k;

    Operand at(int64_t i, int64_t k) const {
        return {data + (along_k ? i * stride + k : k * stride + i), stride, along_k};
    }
};

// Where sums go: y = alpha sums + beta y.
struct Output {
    float* y;
    int64_t stride, cols;
    float alpha, beta;
};

inline uint32_t rounded(float value) {
    return llmc::float_to_bf16(value);
}
inline uint32_t rounded(uint16_t bits) {
    return bits;
}

struct Portable {
    static constexpr int kBlockRows = 4;

    // Pair k/2 of i goes to out[i * out_i + k/2 * out_pair]; a missing second number is 0.
    template <class T>
    static void pack(uint32_t* out, int64_t out_i, int64_t out_pair, const Operand<T>& in, int64_t count,
                     int64_t depth) {
        for (int64_t i = 0; i < count; i++) {
            for (int64_t k = 0; k < depth; k += 2) {
                const uint32_t low = rounded(*in.at(i, k).data);
                const uint32_t high = k + 1 < depth ? rounded(*in.at(i, k + 1).data) : 0;
                out[i * out_i + k / 2 * out_pair] = high << 16 | low;
            }
        }
    }

    template <class T>
    static void pack_panel(uint32_t* out, const Operand<T>& b, int64_t cols, int64_t depth) {
        pack(out, 1, kPanel, b, cols, depth);
        for (int64_t n = cols; n < kPanel; n++)
            for (int64_t p = 0; p < (depth + 1) / 2; p++) out[p * kPanel + n] = 0;
    }

    static void pack_rows(uint32_t* out, const Operand<float>& a, int64_t rows, int64_t depth) {
        pack(out, a.along_k ? kPairStride : 1, a.along_k ? 1 : kRows, a, rows, depth);
    }

    // R rows from `a` on times a panel, `out.cols` columns of it.
    template <int R, bool kAlongK>
    static void multiply(const uint32_t* a, const uint32_t* b, int64_t pairs, const Output& out) {
        float sums[R][kPanel] = {};
        for (int64_t p = 0; p < pairs; p++) {
            for (int m = 0; m < R; m++) {
                const uint32_t pair = kAlongK ? a[m * kPairStride + p] : a[p * kRows + m];
                const float low = std::bit_cast<float>(pair << 16), high = std::bit_cast<float>(pair & 0xffff0000);
#pragma omp simd
                for (int64_t n = 0; n < kPanel; n++) {
                    const uint32_t other = b[p * kPanel + n];
                    sums[m][n] += low * std::bit_cast<float>(other << 16);
                    sums[m][n] += high * std::bit_cast<float>(other & 0xffff0000);
                }
            }
        }
        for (int m = 0; m < R; m++) {
            float* y = out.y + m * out.stride;
            for (int64_t n = 0; n < out.cols; n++) {
                const float product = out.alpha * sums[m][n];
                y[n] = out.beta == 0 ? product : std::fma(out.beta, y[n], product);
            }
        }
    }
};

}  // namespace cpu::bf16
