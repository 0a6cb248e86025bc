// int8 products with AVX-512 VNNI: a Kernel of int8_panels.h.
//
// VPDPBUSD adds four products of unsigned by signed bytes to each of 16 integers, exactly. b is therefore taken as the
// unsigned b + 128, and the surplus is subtracted at the end:
//
//   sum_k a[m,k] b[k,n] = sum_k a[m,k] (b[k,n] + 128) - 128 sum_k a[m,k]
//
// 12 x 32 sums fill 24 of the 32 registers. On their way out they are dequantised and, with AVX512_BF16, the joint
// product is added. A panel lies in two halves of 32 columns. Quadruple k/4 of column n lies at
//
//   half[(k/4 * 32 + n) * 4]
#pragma once

#ifdef __x86_64__

#include <immintrin.h>

#include <cstring>

#include "llmc/cpu/gemm/bf16_avx512.h"
#include "llmc/cpu/gemm/int8_panels.h"
#include "llmc/cpu/gemm/onednn.h"
#include "llmc/cpu/gemm/transpose_avx512.h"
#include "llmc/cpu/gemm/unroll.h"

#define LLMC_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")))
#define LLMC_VNNI_INLINE LLMC_VNNI __attribute__((always_inline)) inline

namespace cpu {

// Some intrinsics here are masked although they need not be: the others leave a value undefined on purpose, which g++
// 12 reports as a mistake (GCC bug 105593). Loops over arrays of vectors are unrolled to keep these in registers.
struct Vnni {
    static constexpr int kRows = 12;
    static constexpr int64_t kDepth = 4096, kPackedBytes = 1, kJointPairs = 128;

    // With AMX oneDNN is faster.
    static bool is_supported() {
        return onednn_has(dnnl_cpu_isa_avx512_core_vnni) && !onednn_has(dnnl_cpu_isa_avx512_core_amx);
    }

    LLMC_VNNI static void sum_rows(int32_t* sums, Matrix<const int8_t> a) {
        const __m512i ones = _mm512_set1_epi8(1);
        for (int64_t m = 0; m < a.rows; m++) {
            __m512i sum = _mm512_setzero_si512();
            for (int64_t k = 0; k < a.cols; k += 64)
                sum = _mm512_dpbusd_epi32(sum, ones, _mm512_maskz_loadu_epi8(first_bytes(a.cols - k), a.row(m) + k));
            sums[m] = static_cast<int32_t>(sum_of(sum));
        }
    }

    LLMC_VNNI static void pack_nt(uint8_t* packed, const int8_t* b, int64_t stride, int64_t cols, int64_t depth) {
        for (int64_t n = 0; n < panels::kPanel; n += 16) {
            uint8_t* to = packed + n / kHalf * kDepth * kHalf + n % kHalf * 4;
            for (int64_t k = 0; k < depth; k += 64)
                transpose(to + k * kHalf, b + n * stride + k, stride, cols - n, depth - k);
        }
    }

    // Interleaves the bytes of four rows.
    LLMC_VNNI static void pack_nn(uint8_t* packed, const int8_t* b, int64_t stride, int64_t cols, int64_t depth) {
        const uint64_t mask = first_bytes(cols);
        for (int64_t k = 0; k < depth; k += 4) {
            __m512i x[4], t[4];
            LLMC_UNROLL
            for (int i = 0; i < 4; i++) {
                x[i] = _mm512_setzero_si512();
                if (k + i < depth) x[i] = load_unsigned(b + (k + i) * stride, mask);
            }
            t[0] = _mm512_unpacklo_epi8(x[0], x[1]);
            t[1] = _mm512_unpackhi_epi8(x[0], x[1]);
            t[2] = _mm512_unpacklo_epi8(x[2], x[3]);
            t[3] = _mm512_unpackhi_epi8(x[2], x[3]);
            x[0] = _mm512_unpacklo_epi16(t[0], t[2]);  // columns 16 l .. 16 l + 3 in quarter l
            x[1] = _mm512_unpackhi_epi16(t[0], t[2]);
            x[2] = _mm512_unpacklo_epi16(t[1], t[3]);
            x[3] = _mm512_unpackhi_epi16(t[1], t[3]);
            LLMC_UNROLL
            for (int j = 0; j < 2; j++) {
                t[j] = _mm512_maskz_shuffle_i32x4(0xffff, x[2 * j], x[2 * j + 1], 0x88);
                t[j + 2] = _mm512_maskz_shuffle_i32x4(0xffff, x[2 * j], x[2 * j + 1], 0xdd);
            }
            uint8_t* left = packed + k * kHalf;
            uint8_t* right = left + kDepth * kHalf;
            _mm512_storeu_si512(left, _mm512_maskz_shuffle_i32x4(0xffff, t[0], t[1], 0x88));
            _mm512_storeu_si512(left + 64, _mm512_maskz_shuffle_i32x4(0xffff, t[2], t[3], 0x88));
            _mm512_storeu_si512(right, _mm512_maskz_shuffle_i32x4(0xffff, t[0], t[1], 0xdd));
            _mm512_storeu_si512(right + 64, _mm512_maskz_shuffle_i32x4(0xffff, t[2], t[3], 0xdd));
        }
    }

    static void pack_joint_rows(uint32_t* packed, const panels::PackedJoint& joint, Matrix<const float> z) {
        bf16::Avx512::pack_along_k(packed, joint.stride(), {z.data, z.stride, true}, z.rows, z.cols);
    }
    static void pack_joint_panel(uint32_t* packed, const panels::PackedJoint& joint, Matrix<const float> wz) {
        for (int64_t n = 0; n < wz.rows; n += kHalf)
            bf16::Avx512::pack_panel<float>(packed + n * joint.stride(), {wz.row(n), wz.stride, true},
                                            std::min(kHalf, wz.rows - n), wz.cols);
    }

    template <int R>
    LLMC_VNNI static void multiply(const int8_t* a, int64_t stride, int64_t depth, const uint8_t* packed, int64_t cols,
                                   int32_t* sums, bool first, const panels::Output* out) {
        for (int64_t col = 0; col < cols; col += kHalf)
            multiply_half<R>(a, stride, depth, packed + col * kDepth, col, sums, first, out);
    }

    template <int M, int C>
    LLMC_VNNI static void multiply_few(Matrix<const int8_t> a, Matrix<const int8_t> b, int64_t o,
                                       const panels::Output& out) {
        __m512i sums[M][C];
        LLMC_UNROLL
        for (int m = 0; m < M; m++) {
            LLMC_UNROLL
            for (int c = 0; c < C; c++) sums[m][c] = _mm512_setzero_si512();
        }
        for (int64_t k = 0; k < a.cols; k += 64) {
            const uint64_t mask = first_bytes(a.cols - k);
            __m512i x[C];
            LLMC_UNROLL
            for (int c = 0; c < C; c++) x[c] = load_unsigned(b.row(o + c) + k, mask);
            LLMC_UNROLL
            for (int m = 0; m < M; m++) {
                const __m512i row = _mm512_maskz_loadu_epi8(mask, a.row(m) + k);
                LLMC_UNROLL
                for (int c = 0; c < C; c++) sums[m][c] = _mm512_dpbusd_epi32(sums[m][c], x[c], row);
            }
        }
        for (int m = 0; m < M; m++)
            for (int c = 0; c < C; c++) out.set(m, o + c, static_cast<int32_t>(sum_of(sums[m][c]) - surplus(out, m)));
    }

  private:
    static constexpr int64_t kHalf = 32;  // columns

    static uint64_t first_bytes(int64_t count) {
        return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << std::max<int64_t>(count, 0)) - 1;
    }

    // Unsigned: sums of b + 128 may wrap around, and wrap back when the surplus is subtracted.
    LLMC_VNNI static uint32_t sum_of(__m512i numbers) {
        uint32_t each[16], sum = 0;
        _mm512_storeu_si512(each, numbers);
        for (const uint32_t number : each) sum += number;
        return sum;
    }
    static uint32_t surplus(const panels::Output& out, int64_t row) {
        return 128 * static_cast<uint32_t>(out.row_sums[row]);
    }

    // 64 bytes of b as unsigned; zero beyond the mask, so that they add nothing.
    LLMC_VNNI static __m512i load_unsigned(const int8_t* b, uint64_t mask) {
        return _mm512_maskz_sub_epi8(mask, _mm512_maskz_loadu_epi8(mask, b), _mm512_set1_epi8(-128));
    }

    // 16 rows of 16 quadruples, transposed; of b[n,k] `cols` rows and `depth` bytes exist.
    LLMC_VNNI static void transpose(uint8_t* packed, const int8_t* b, int64_t stride, int64_t cols, int64_t depth) {
        __m512i x[16];
        LLMC_UNROLL
        for (int i = 0; i < 16; i++) {
            x[i] = _mm512_setzero_si512();
            if (i < cols) x[i] = load_unsigned(b + i * stride, first_bytes(depth));
        }
        transpose_16x16(x);
        LLMC_UNROLL
        for (int i = 0; i < 16; i++) _mm512_storeu_si512(packed + i * 4 * kHalf, x[i]);
    }

    template <int R>
    LLMC_VNNI static void multiply_half(const int8_t* a, int64_t stride, int64_t depth, const uint8_t* packed,
                                        int64_t col, int32_t* sums, bool first, const panels::Output* out) {
        __m512i acc[R][2];
        LLMC_UNROLL
        for (int m = 0; m < R; m++) {
            LLMC_UNROLL
            for (int j = 0; j < 2; j++) {
                acc[m][j] = _mm512_setzero_si512();
                if (!first) acc[m][j] = _mm512_loadu_si512(sums + m * panels::kPanel + col + 16 * j);
            }
        }
        // Fetches lines of y from memory while there is something to multiply.
        if (out != nullptr) {
            LLMC_UNROLL
            for (int m = 0; m < R; m++) {
                __builtin_prefetch(out->y + m * out->stride + col, 1);
                __builtin_prefetch(out->y + m * out->stride + col + 16, 1);
            }
        }
        int64_t k = 0;
        for (; k + 4 <= depth; k += 4) add<R>(acc, packed + k * kHalf, a + k, stride, 4);
        if (k < depth) add<R>(acc, packed + k * kHalf, a + k, stride, depth - k);
        LLMC_UNROLL
        for (int m = 0; m < R; m++) {
            LLMC_UNROLL
            for (int j = 0; j < 2; j++)
                if (out == nullptr) _mm512_storeu_si512(sums + m * panels::kPanel + col + 16 * j, acc[m][j]);
        }
        if (out != nullptr) finish<R>(acc, col, *out);
    }

    template <int R>
    LLMC_VNNI_INLINE static void finish(const __m512i (&acc)[R][2], int64_t col, const panels::Output& out) {
        // Copies, because for all the compiler knows the stores below change `out`.
        float* const to = out.y + col;
        const int64_t stride = out.stride;
        const uint16_t mask[2] = {static_cast<uint16_t>(first_bytes(out.cols - col)),
                                  static_cast<uint16_t>(first_bytes(out.cols - col - 16))};
        __m512 y[R][2];
        if (out.bias != nullptr)
            dequantize<R, true>(y, acc, col, out, mask);
        else
            dequantize<R, false>(y, acc, col, out, mask);
        const uint32_t *z = out.joint.z, *wz = out.joint.wz + col * out.joint.stride();
        for (int64_t p = 0; p < out.joint.pairs; p++) {
            const auto left = bf16::as_bf16(_mm512_loadu_si512(wz + p * kHalf));
            const auto right = bf16::as_bf16(_mm512_loadu_si512(wz + p * kHalf + 16));
            LLMC_UNROLL
            for (int m = 0; m < R; m++) {
                const auto pair = static_cast<int32_t>(z[m * out.joint.stride() + p]);
                const auto row = bf16::as_bf16(_mm512_set1_epi32(pair));
                y[m][0] = _mm512_dpbf16_ps(y[m][0], left, row);
                y[m][1] = _mm512_dpbf16_ps(y[m][1], right, row);
            }
        }
        LLMC_UNROLL
        for (int m = 0; m < R; m++) {
            LLMC_UNROLL
            for (int j = 0; j < 2; j++) _mm512_mask_storeu_ps(to + m * stride + 16 * j, mask[j], y[m][j]);
        }
    }

    // y = row_scale col_scale sums + bias, of 32 columns.
    template <int R, bool kBias>
    LLMC_VNNI_INLINE static void dequantize(__m512 (&y)[R][2], const __m512i (&acc)[R][2], int64_t col,
                                            const panels::Output& out, const uint16_t (&mask)[2]) {
        __m512 col_scale[2], bias[2];
        LLMC_UNROLL
        for (int j = 0; j < 2; j++) {
            col_scale[j] = _mm512_set1_ps(1);
            if (out.col_scale != nullptr) col_scale[j] = _mm512_maskz_loadu_ps(mask[j], out.col_scale + col + 16 * j);
            if (kBias) bias[j] = _mm512_maskz_loadu_ps(mask[j], out.bias + col + 16 * j);
        }
        LLMC_UNROLL
        for (int m = 0; m < R; m++) {
            const __m512i excess = _mm512_set1_epi32(static_cast<int32_t>(surplus(out, m)));
            const __m512 row_scale = _mm512_set1_ps(out.row_scale[m]);
            LLMC_UNROLL
            for (int j = 0; j < 2; j++) {
                const __m512 scale = _mm512_mul_ps(row_scale, col_scale[j]);
                const __m512 sum = _mm512_maskz_cvtepi32_ps(0xffff, _mm512_sub_epi32(acc[m][j], excess));
                y[m][j] = kBias ? _mm512_fmadd_ps(scale, sum, bias[j]) : _mm512_mul_ps(scale, sum);
            }
        }
    }

    // The products of a quadruple, of which `count` exist.
    template <int R>
    LLMC_VNNI_INLINE static void add(__m512i (&acc)[R][2], const uint8_t* packed, const int8_t* a, int64_t stride,
                                     int64_t count) {
        const __m512i left = _mm512_loadu_si512(packed), right = _mm512_loadu_si512(packed + 64);
        LLMC_UNROLL
        for (int m = 0; m < R; m++) {
            int32_t bytes = 0;
            std::memcpy(&bytes, a + m * stride, static_cast<size_t>(count));
            const __m512i x = _mm512_set1_epi32(bytes);
            acc[m][0] = _mm512_dpbusd_epi32(acc[m][0], left, x);
            acc[m][1] = _mm512_dpbusd_epi32(acc[m][1], right, x);
        }
    }
};

}  // namespace cpu

#undef LLMC_VNNI
#undef LLMC_VNNI_INLINE
#endif
