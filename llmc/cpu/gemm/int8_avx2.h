// int8 products with AVX2: a Kernel of int8_panels.h, for processors without VNNI.
//
// VPMADDWD adds two products of 16-bit integers to each of 8 sums, exactly: twice as many products as a fused
// multiply-add of floats. Both operands are widened: b when a panel is packed, the rows of a block once per panel. The
// 4 x 16 sums fill 8 of the 16 registers. Pair k/2 of column n lies at
//
//   packed[((n/16 * kDepth + k) / 2 * 16 + n%16) * 4]
#pragma once

#ifdef __x86_64__

#include <immintrin.h>

#include <cstring>

#include "llmc/cpu/gemm/int8_panels.h"
#include "llmc/cpu/gemm/onednn.h"
#include "llmc/cpu/gemm/unroll.h"

#define LLMC_AVX2 __attribute__((target("avx2,fma")))

namespace cpu {

struct Avx2 {
    static constexpr int kRows = 4;
    static constexpr int64_t kDepth = 2048, kPackedBytes = 2, kJointPairs = 0;

    static bool is_supported() { return onednn_has(dnnl_cpu_isa_avx2) && __builtin_cpu_supports("fma"); }

    static void sum_rows(int32_t*, Matrix<const int8_t>) {}

    LLMC_AVX2 static void pack_nt(uint8_t* packed, const int8_t* b, int64_t stride, int64_t cols, int64_t depth) {
        for (int64_t n = 0; n < panels::kPanel; n += 8) {
            uint8_t* to = packed + (n / kCols * kDepth * kCols + n % kCols * 2) * kPackedBytes;
            for (int64_t k = 0; k < depth; k += 16)
                transpose(to + k * kCols * kPackedBytes, b + n * stride + k, stride, cols - n, depth - k);
        }
    }

    // Interleaves the numbers of two rows.
    LLMC_AVX2 static void pack_nn(uint8_t* packed, const int8_t* b, int64_t stride, int64_t cols, int64_t depth) {
        for (int64_t k = 0; k < depth; k += 2) {
            const int8_t* row = b + k * stride;
            for (int64_t n = 0; n < cols; n += kCols) {
                const __m256i even = widen(row + n, cols - n);
                const __m256i odd = k + 1 < depth ? widen(row + stride + n, cols - n) : _mm256_setzero_si256();
                const __m256i low = _mm256_unpacklo_epi16(even, odd), high = _mm256_unpackhi_epi16(even, odd);
                uint8_t* to = packed + (n * kDepth + k * kCols) * kPackedBytes;
                store(to, _mm256_permute2x128_si256(low, high, 0x20));
                store(to + 32, _mm256_permute2x128_si256(low, high, 0x31));
            }
        }
    }

    template <int R>
    LLMC_AVX2 static void multiply(const int8_t* a, int64_t stride, int64_t depth, const uint8_t* packed, int64_t cols,
                                   int32_t* sums, bool first, const panels::Output* out) {
        alignas(32) int16_t wide[R][kStride];
        for (int m = 0; m < R; m++)
            for (int64_t k = 0; k < depth; k += 16) store(&wide[m][k], widen(a + m * stride + k, depth - k));
        for (int64_t col = 0; col < cols; col += kCols)
            multiply_columns<R>(wide, depth, packed + col * kDepth * kPackedBytes, col, sums, first, out);
    }

    template <int M, int C>
    LLMC_AVX2 static void multiply_few(Matrix<const int8_t> a, Matrix<const int8_t> b, int64_t o,
                                       const panels::Output& out) {
        __m256i sums[M][C];
        LLMC_UNROLL
        for (int m = 0; m < M; m++) {
            LLMC_UNROLL
            for (int c = 0; c < C; c++) sums[m][c] = _mm256_setzero_si256();
        }
        for (int64_t k = 0; k < a.cols; k += 16) {
            __m256i x[C];
            LLMC_UNROLL
            for (int c = 0; c < C; c++) x[c] = widen(b.row(o + c) + k, a.cols - k);
            LLMC_UNROLL
            for (int m = 0; m < M; m++) {
                const __m256i row = widen(a.row(m) + k, a.cols - k);
                LLMC_UNROLL
                for (int c = 0; c < C; c++) sums[m][c] = _mm256_add_epi32(sums[m][c], _mm256_madd_epi16(row, x[c]));
            }
        }
        for (int m = 0; m < M; m++) {
            for (int c = 0; c < C; c++) {
                int32_t each[8], sum = 0;
                store(each, sums[m][c]);
                for (const int32_t number : each) sum += number;
                out.set(m, o + c, sum);
            }
        }
    }

  private:
    static constexpr int64_t kCols = 16;             // of sums in registers
    static constexpr int64_t kStride = kDepth + 32;  // of widened rows: not all in the same set of the cache

    LLMC_AVX2 static void store(void* to, __m256i value) { _mm256_storeu_si256(static_cast<__m256i*>(to), value); }
    LLMC_AVX2 static __m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }

    // Widens `count` of 16 numbers; the rest is zero.
    LLMC_AVX2 static __m256i widen(const int8_t* from, int64_t count) {
        if (count >= 16) return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
        int8_t bytes[16] = {};
        if (count > 0) std::memcpy(bytes, from, static_cast<size_t>(count));
        return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
    }

    // 8 rows of 8 pairs, transposed; of b[n,k] `cols` rows and `depth` numbers exist.
    LLMC_AVX2 static void transpose(uint8_t* packed, const int8_t* b, int64_t stride, int64_t cols, int64_t depth) {
        __m256i x[8], t[8];
        LLMC_UNROLL
        for (int i = 0; i < 8; i++) {
            x[i] = _mm256_setzero_si256();
            if (i < cols) x[i] = widen(b + i * stride, depth);
        }
        LLMC_UNROLL
        for (int i = 0; i < 8; i += 2) {
            t[i] = _mm256_unpacklo_epi32(x[i], x[i + 1]);
            t[i + 1] = _mm256_unpackhi_epi32(x[i], x[i + 1]);
        }
        LLMC_UNROLL
        for (int i = 0; i < 8; i += 4) {
            x[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
            x[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
            x[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
            x[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
        }
        LLMC_UNROLL
        for (int j = 0; j < 4; j++) {
            store(packed + j * kCols * 4, _mm256_permute2x128_si256(x[j], x[j + 4], 0x20));
            store(packed + (j + 4) * kCols * 4, _mm256_permute2x128_si256(x[j], x[j + 4], 0x31));
        }
    }

    template <int R>
    LLMC_AVX2 static void multiply_columns(const int16_t (&wide)[R][kStride], int64_t depth, const uint8_t* packed,
                                           int64_t col, int32_t* sums, bool first, const panels::Output* out) {
        __m256i acc[R][2];
        LLMC_UNROLL
        for (int m = 0; m < R; m++) {
            LLMC_UNROLL
            for (int j = 0; j < 2; j++) {
                acc[m][j] = _mm256_setzero_si256();
                if (!first) acc[m][j] = load(sums + m * panels::kPanel + col + 8 * j);
            }
        }
        for (int64_t k = 0; k < depth; k += 2) {
            __m256i left = load(packed + k * kCols * 2), right = load(packed + k * kCols * 2 + 32);
            __asm__("" : "+x"(left), "+x"(right));  // else the compiler loads them again for every row
            LLMC_UNROLL
            for (int m = 0; m < R; m++) {
                int32_t pair = 0;
                std::memcpy(&pair, &wide[m][k], sizeof pair);
                const __m256i everywhere = _mm256_set1_epi32(pair);
                acc[m][0] = _mm256_add_epi32(acc[m][0], _mm256_madd_epi16(left, everywhere));
                acc[m][1] = _mm256_add_epi32(acc[m][1], _mm256_madd_epi16(right, everywhere));
            }
        }
        LLMC_UNROLL
        for (int m = 0; m < R; m++) {
            LLMC_UNROLL
            for (int j = 0; j < 2; j++) {
                int32_t* there = sums + m * panels::kPanel + col + 8 * j;
                if (out == nullptr || out->cols < col + 8 * j + 8) store(there, acc[m][j]);
                if (out != nullptr) dequantize(*out, m, col + 8 * j, acc[m][j], there);
            }
        }
    }

    // The last columns of a matrix, fewer than a vector has, are set one by one from `stored`.
    LLMC_AVX2 static void dequantize(const panels::Output& out, int64_t row, int64_t col, __m256i sums,
                                     const int32_t* stored) {
        if (out.cols < col + 8) {
            for (int64_t n = col; n < out.cols; n++) out.set(row, n, stored[n - col]);
            return;
        }
        __m256 scale = _mm256_set1_ps(out.row_scale[row]);
        if (out.col_scale != nullptr) scale = _mm256_mul_ps(scale, _mm256_loadu_ps(out.col_scale + col));
        __m256 value = _mm256_cvtepi32_ps(sums);
        if (out.bias != nullptr)
            value = _mm256_fmadd_ps(scale, value, _mm256_loadu_ps(out.bias + col));
        else
            value = _mm256_mul_ps(scale, value);
        _mm256_storeu_ps(out.y + row * out.stride + col, value);
    }
};

}  // namespace cpu

#undef LLMC_AVX2
#endif
