// The integer product inside the int8 GEMMs, by one thread, exact:
//
//   c[M,N] = a[M,K] b[N,K]^T   (transpose_b)   or   a[M,K] b[K,N]          int8 x int8 -> int32, written (=)
//
// onednn_int8_product is the fast one, where it is right. oneDNN multiplies unsigned by signed bytes and, on processors
// without VNNI instructions, AVX-512 ones included, adds pairs of products in int16, which saturates: 127 * 127 comes
// out wrong. int8_product() therefore tries such a product once and, if it is wrong, returns widening_int8_product,
// which multiplies in int16 and adds in int32.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "llmc/core/tensor.h"
#include "llmc/cpu/gemm/onednn.h"

namespace cpu {

using namespace llmc;

using Int8Product = void (*)(Matrix<int32_t> c, Matrix<const int8_t> a, Matrix<const int8_t> b, bool transpose_b);

inline void onednn_int8_product(Matrix<int32_t> c, Matrix<const int8_t> a, Matrix<const int8_t> b, bool transpose_b) {
    const OneDnnThreads serial(1);
    const int32_t no_offset = 0;
    check_onednn(dnnl_gemm_s8s8s32('N', transpose_b ? 'T' : 'N', 'F', c.rows, c.cols, a.cols, 1.0f, a.data, a.stride, 0,
                                   b.data, b.stride, 0, 0.0f, c.data, c.stride, &no_offset),
                 "dnnl_gemm_s8s8s32", c.rows, c.cols, a.cols);
}

// sums[m][n] = two rows of a times four rows of b, `stride` apart. Not `omp simd`: in plain loops the compiler finds
// vpmaddwd, two products and their sum in one instruction, and the eight sums share the loads.
inline void widening_block(int32_t (&sums)[2][4], const int16_t* a, const int16_t* b, int64_t stride, int64_t depth) {
    int32_t s00 = 0, s01 = 0, s02 = 0, s03 = 0, s10 = 0, s11 = 0, s12 = 0, s13 = 0;
    const int16_t *a0 = a, *a1 = a + stride;
    const int16_t *b0 = b, *b1 = b + stride, *b2 = b + 2 * stride, *b3 = b + 3 * stride;
    for (int64_t k = 0; k < depth; k++) {
        s00 += a0[k] * b0[k], s01 += a0[k] * b1[k], s02 += a0[k] * b2[k], s03 += a0[k] * b3[k];
        s10 += a1[k] * b0[k], s11 += a1[k] * b1[k], s12 += a1[k] * b2[k], s13 += a1[k] * b3[k];
    }
    sums[0][0] = s00, sums[0][1] = s01, sums[0][2] = s02, sums[0][3] = s03;
    sums[1][0] = s10, sums[1][1] = s11, sums[1][2] = s12, sums[1][3] = s13;
}

inline void widening_int8_product(Matrix<int32_t> c, Matrix<const int8_t> a, Matrix<const int8_t> b, bool transpose_b) {
    constexpr int64_t kDepth = 512;  // of a block: 32 columns of b in int16 fill the L1 cache
    constexpr int64_t kCols = 32;
    alignas(64) std::array<int16_t, kCols * kDepth> b_block;
    alignas(64) std::array<int16_t, 2 * kDepth> a_block;
    for (int64_t col = 0; col < c.cols; col += kCols) {
        const int64_t cols = std::min(kCols, c.cols - col);
        for (int64_t begin = 0; begin < a.cols; begin += kDepth) {
            const int64_t depth = std::min(kDepth, a.cols - begin);
            if (cols < kCols) b_block.fill(0);
            for (int64_t n = 0; n < cols; n++) {
                for (int64_t k = 0; k < depth; k++) {
                    b_block[n * kDepth + k] = transpose_b ? b(col + n, begin + k) : b(begin + k, col + n);
                }
            }
            a_block.fill(0);
            for (int64_t row = 0; row < c.rows; row += 2) {
                const int64_t rows = std::min<int64_t>(2, c.rows - row);
                for (int64_t m = 0; m < rows; m++) std::copy_n(a.row(row + m) + begin, depth, &a_block[m * kDepth]);
                for (int64_t n = 0; n < cols; n += 4) {
                    int32_t sums[2][4];
                    widening_block(sums, a_block.data(), &b_block[n * kDepth], kDepth, depth);
                    for (int64_t m = 0; m < rows; m++) {
                        for (int64_t j = 0; j < std::min<int64_t>(4, cols - n); j++) {
                            int32_t& sum = c(row + m, col + n + j);
                            sum = (begin == 0 ? 0 : sum) + sums[m][j];
                        }
                    }
                }
            }
        }
    }
}

// Both signs, both layouts, at the magnitude where int16 saturates.
inline bool onednn_int8_is_exact() {
    constexpr int kSize = 64;
    std::array<int8_t, kSize * kSize> a, b;
    std::array<int32_t, kSize * kSize> c;
    a.fill(127);
    for (const int sign : {1, -1}) {
        b.fill(static_cast<int8_t>(sign * 127));
        for (const bool transpose_b : {false, true}) {
            onednn_int8_product({c.data(), kSize, kSize}, {a.data(), kSize, kSize}, {b.data(), kSize, kSize},
                                transpose_b);
            if (std::any_of(c.begin(), c.end(), [&](int32_t sum) { return sum != sign * 127 * 127 * kSize; }))
                return false;
        }
    }
    return true;
}

inline Int8Product int8_product() {
    static const Int8Product chosen = onednn_int8_is_exact() ? onednn_int8_product : widening_int8_product;
    return chosen;
}

}  // namespace cpu
