// bf16 products with AVX512_BF16: a Kernel of bf16_kernel.h.
//
// VDPBF16PS adds two bf16 products to each of 16 floats, twice as many as a fused multiply-add. The 12 x 32 sums fill
// 24 of the 32 registers; of a panel with at most 16 columns only half is packed and multiplied.
#pragma once

#ifdef __x86_64__

#include <immintrin.h>

#include <array>

#include "llmc/cpu/gemm/bf16_kernel.h"
#include "llmc/cpu/gemm/onednn.h"
#include "llmc/cpu/gemm/transpose_avx512.h"
#include "llmc/cpu/gemm/unroll.h"

#define LLMC_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define LLMC_BF16_INLINE LLMC_BF16 __attribute__((always_inline)) inline

namespace cpu::bf16 {

// The same bits; nvcc takes no other cast.
LLMC_BF16_INLINE __m512bh as_bf16(__m512i pairs) {
    return (__m512bh)pairs;
}

struct Avx512 {
    static constexpr int kBlockRows = 12;

    static bool is_supported() { return onednn_has(dnnl_cpu_isa_avx512_core_bf16); }

    template <class T>
    LLMC_BF16 static void pack_panel(uint32_t* out, const Operand<T>& b, int64_t cols, int64_t depth) {
        if (!b.along_k) return interleave(out, kPanel, b, cols, depth);
        for (int64_t n = 0; n < cols; n += 16)
            for (int64_t k = 0; k < depth; k += 32)
                transpose(out + k / 2 * kPanel + n, b.at(n, k), cols - n, depth - k);
    }

    // Pair k/2 of row m at [m * stride + k/2]; the stride is a multiple of 16.
    LLMC_BF16 static void pack_along_k(uint32_t* out, int64_t stride, const Operand<float>& a, int64_t rows,
                                       int64_t depth) {
        for (int64_t m = 0; m < rows; m++)
            for (int64_t k = 0; k < depth; k += 32)
                _mm512_storeu_si512(out + m * stride + k / 2, load(a.at(m, k).data, depth - k));
    }

    LLMC_BF16 static void pack_rows(uint32_t* out, const Operand<float>& a, int64_t rows, int64_t depth) {
        if (a.along_k) {
            pack_along_k(out, kPairStride, a, rows, depth);
        } else {
            for (int64_t m = 0; m < rows; m += 32) interleave(out + m, kRows, a.at(m, 0), rows - m, depth);
        }
    }

    template <int R, bool kAlongK>
    static void multiply(const uint32_t* a, const uint32_t* b, int64_t pairs, const Output& out) {
        if (out.cols > 16)
            multiply_columns<R, 2, kAlongK>(a, b, pairs, out);
        else
            multiply_columns<R, 1, kAlongK>(a, b, pairs, out);
    }

  private:
    // Element i of one vector beside element i of another, whose elements count from 32.
    alignas(64) static constexpr std::array<uint16_t, 64> kBeside = [] {
        std::array<uint16_t, 64> order{};
        for (uint16_t i = 0; i < 64; i++) order[i] = static_cast<uint16_t>(i / 2 + i % 2 * 32);
        return order;
    }();

    static uint32_t first(int64_t count) { return count >= 32 ? ~uint32_t{0} : (uint32_t{1} << count) - 1; }

    // Loads `count` of 32 numbers; the rest is zero.
    LLMC_BF16_INLINE static __m512i load(const float* in, int64_t count) {
        const uint32_t mask = first(count);
        const __m512 low = _mm512_maskz_loadu_ps(static_cast<uint16_t>(mask), in);
        const __m512 high = _mm512_maskz_loadu_ps(static_cast<uint16_t>(mask >> 16), in + 16);
        return (__m512i)_mm512_cvtne2ps_pbh(high, low);
    }
    LLMC_BF16_INLINE static __m512i load(const uint16_t* in, int64_t count) {
        return _mm512_maskz_loadu_epi16(first(count), in);
    }

    // Pairs from two rows of 16 or 32 columns, of which `cols` exist; out[k/2 * width + column].
    template <class T>
    LLMC_BF16 static void interleave(uint32_t* out, int64_t width, const Operand<T>& in, int64_t cols, int64_t depth) {
        const __m512i left = _mm512_load_si512(kBeside.data()), right = _mm512_load_si512(kBeside.data() + 32);
        for (int64_t k = 0; k < depth; k += 2) {
            const __m512i even = load(in.at(0, k).data, cols);
            const __m512i odd = k + 1 < depth ? load(in.at(0, k + 1).data, cols) : _mm512_setzero_si512();
            _mm512_storeu_si512(out + k / 2 * width, _mm512_permutex2var_epi16(even, left, odd));
            if (cols > 16) _mm512_storeu_si512(out + k / 2 * width + 16, _mm512_permutex2var_epi16(even, right, odd));
        }
    }

    // 16 rows of 16 pairs, transposed; `cols` rows and `depth` numbers of each exist.
    template <class T>
    LLMC_BF16 static void transpose(uint32_t* out, const Operand<T>& b, int64_t cols, int64_t depth) {
        __m512i x[16];
        LLMC_UNROLL
        for (int i = 0; i < 16; i++) {
            x[i] = _mm512_setzero_si512();
            if (i < cols) x[i] = load(b.data + i * b.stride, depth);
        }
        transpose_16x16(x);
        LLMC_UNROLL
        for (int i = 0; i < 16; i++) _mm512_storeu_si512(out + i * kPanel, x[i]);
    }

    template <int R, int V, bool kAlongK>
    LLMC_BF16 static void multiply_columns(const uint32_t* a, const uint32_t* b, int64_t pairs, const Output& out) {
        __m512 sums[R][V];
        LLMC_UNROLL
        for (int m = 0; m < R; m++) {
            LLMC_UNROLL
            for (int v = 0; v < V; v++) sums[m][v] = _mm512_setzero_ps();
        }
        for (int64_t p = 0; p < pairs; p++) {
            __m512bh panel[V];
            LLMC_UNROLL
            for (int v = 0; v < V; v++) panel[v] = as_bf16(_mm512_loadu_si512(b + p * kPanel + 16 * v));
            LLMC_UNROLL
            for (int m = 0; m < R; m++) {
                const uint32_t pair = kAlongK ? a[m * kPairStride + p] : a[p * kRows + m];
                const auto row = as_bf16(_mm512_set1_epi32(static_cast<int32_t>(pair)));
                LLMC_UNROLL
                for (int v = 0; v < V; v++) sums[m][v] = _mm512_dpbf16_ps(sums[m][v], panel[v], row);
            }
        }
        if (out.beta == 0)
            store<R, V, false>(sums, out);
        else
            store<R, V, true>(sums, out);
    }

    // y = alpha sums + beta y
    template <int R, int V, bool kAdds>
    LLMC_BF16_INLINE static void store(const __m512 (&sums)[R][V], const Output& out) {
        // Copies, because for all the compiler knows the stores below change `out`.
        float* const to = out.y;
        const int64_t stride = out.stride;
        const __m512 alpha = _mm512_set1_ps(out.alpha), beta = _mm512_set1_ps(out.beta);
        uint16_t mask[V];
        LLMC_UNROLL
        for (int v = 0; v < V; v++) mask[v] = static_cast<uint16_t>(first(out.cols - 16 * v));
        LLMC_UNROLL
        for (int m = 0; m < R; m++) {
            LLMC_UNROLL
            for (int v = 0; v < V; v++) {
                float* y = to + m * stride + 16 * v;
                __m512 value = _mm512_mul_ps(alpha, sums[m][v]);
                if (kAdds) value = _mm512_fmadd_ps(beta, _mm512_maskz_loadu_ps(mask[v], y), value);
                _mm512_mask_storeu_ps(y, mask[v], value);
            }
        }
    }
};

}  // namespace cpu::bf16

#undef LLMC_BF16
#undef LLMC_BF16_INLINE
#endif
