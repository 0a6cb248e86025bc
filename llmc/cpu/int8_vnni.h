// The int8 GEMMs on processors with AVX-512 VNNI, dequantised in registers (int8_gemm.h says what they compute).
//
// VPDPBUSD adds four products of unsigned by signed bytes to each of 16 integers, exactly. b is therefore taken as the
// unsigned b + 128, and the surplus subtracted at the end:
//
//   sum_k a[m,k] b[k,n] = sum_k a[m,k] (b[k,n] + 128) - 128 sum_k a[m,k]
//
// A thread packs a panel of 64 columns of b, in an order in which the instruction finds its quadruples of k, and
// multiplies it with all rows of a, 12 x 32 sums at a time, which stay in registers for up to kDepth terms. Nothing
// else is packed, and what leaves the registers is y: of 512 x 2048 x 2560 one core makes 412 GOP/s this way, and 398
// through oneDNN before the dequantisation (dev/cpu/int8_gemm.cpp).
//
// The code is compiled for these instructions whatever the rest of the program is compiled for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

#include "llmc/cpu/device.h"

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace cpu::vnni {

constexpr int64_t kRows = 12, kCols = 32;  // of the sums in registers
constexpr int64_t kPanel = 2 * kCols;      // columns of b that are packed together: a cache line of a row
constexpr int64_t kDepth = 4096;           // rows of b likewise: a panel of 256 KiB stays in the L2 cache
constexpr int64_t kChunk = 512;            // rows of a that a panel meets
constexpr int64_t kLongestSum = 65536;     // beyond it 255 * 128 * k would not fit 32 bits
constexpr int64_t kFewRows = 4;            // that are multiplied without packing anything

// Integers of workspace for each thread: the panel, and the sums of a chunk where there are more than kDepth terms.
constexpr int64_t kWorkspace = (kDepth * kPanel) / 4 + kChunk * kPanel;

#ifndef __x86_64__

inline bool is_supported() {
    return false;
}
inline void gemm(const Device&, Matrix<float>, Matrix<const int8_t>, Matrix<const int8_t>, bool, const float*,
                 const float*, const float*, std::span<int32_t>) {
    fail("this processor has no AVX-512 VNNI");
}

#else

// AMX multiplies int8 matrices many times as fast; oneDNN makes use of it. (clang does not know it by name.)
inline bool has_amx() {
    constexpr unsigned kAmxInt8 = 1u << 25;
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kAmxInt8);
}

// Whether this processor has the instructions, and none that are better.
inline bool is_supported() {
    static const bool supported = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") &&
                                  !has_amx();
    return supported;
}

#define LLMC_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define LLMC_UNROLL _Pragma("GCC unroll 16")  // so that arrays of vectors are registers

// The first `count` of 64 bytes or of 16 numbers.
inline uint64_t byte_mask(int64_t count) {
    return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << std::max<int64_t>(count, 0)) - 1;
}
inline uint16_t lane_mask(int64_t count) {
    return static_cast<uint16_t>(byte_mask(std::min<int64_t>(count, 16)));
}

// Some intrinsics below are masked although nothing is: the others leave a value undefined on purpose, which g++ 12
// takes for a mistake (GCC bug 105593).
LLMC_VNNI inline int32_t sum_of(__m512i numbers) {
    int32_t each[16], sum = 0;
    _mm512_storeu_si512(each, numbers);
    for (const int32_t number : each) sum += number;
    return sum;
}

// 64 bytes of b as unsigned ones; zero beyond the mask, so that they add nothing.
LLMC_VNNI inline __m512i load_unsigned(const int8_t* b, uint64_t mask) {
    return _mm512_maskz_sub_epi8(mask, _mm512_maskz_loadu_epi8(mask, b), _mm512_set1_epi8(-128));
}

// sums[m] = sum_k a[m,k]
LLMC_VNNI inline void sum_rows(int32_t* sums, Matrix<const int8_t> a) {
    const __m512i ones = _mm512_set1_epi8(1);
    for (int64_t m = 0; m < a.rows; m++) {
        __m512i sum = _mm512_setzero_si512();
        for (int64_t k = 0; k < a.cols; k += 64)
            sum = _mm512_dpbusd_epi32(sum, ones, _mm512_maskz_loadu_epi8(byte_mask(a.cols - k), a.row(m) + k));
        sums[m] = sum_of(sum);
    }
}

// Half a panel: quadruple k/4 of column n at packed[(k/4 * 32 + n) * 4], zero beyond the edges of b.

// 16 rows of 16 quadruples, transposed. b[n,k]: `rows` of them, with `depth` bytes.
LLMC_VNNI inline void pack_transposed(uint8_t* packed, const int8_t* b, int64_t stride, int64_t rows, int64_t depth) {
    __m512i x[16], t[16];
    LLMC_UNROLL for (int i = 0; i < 16; i++) x[i] =
        i < rows ? load_unsigned(b + i * stride, byte_mask(depth)) : _mm512_setzero_si512();
    LLMC_UNROLL for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_maskz_unpacklo_epi32(0xffff, x[i], x[i + 1]);
        t[i + 1] = _mm512_maskz_unpackhi_epi32(0xffff, x[i], x[i + 1]);
    }
    LLMC_UNROLL for (int i = 0; i < 16; i += 4) {
        x[i] = _mm512_maskz_unpacklo_epi64(0xff, t[i], t[i + 2]);
        x[i + 1] = _mm512_maskz_unpackhi_epi64(0xff, t[i], t[i + 2]);
        x[i + 2] = _mm512_maskz_unpacklo_epi64(0xff, t[i + 1], t[i + 3]);
        x[i + 3] = _mm512_maskz_unpackhi_epi64(0xff, t[i + 1], t[i + 3]);
    }
    LLMC_UNROLL for (int i = 0; i < 16; i += 8) {
        LLMC_UNROLL for (int j = 0; j < 4; j++) {
            t[i + j] = _mm512_maskz_shuffle_i32x4(0xffff, x[i + j], x[i + j + 4], 0x88);
            t[i + j + 4] = _mm512_maskz_shuffle_i32x4(0xffff, x[i + j], x[i + j + 4], 0xdd);
        }
    }
    LLMC_UNROLL for (int j = 0; j < 8; j++) {
        _mm512_storeu_si512(packed + j * 4 * kCols, _mm512_maskz_shuffle_i32x4(0xffff, t[j], t[j + 8], 0x88));
        _mm512_storeu_si512(packed + (j + 8) * 4 * kCols, _mm512_maskz_shuffle_i32x4(0xffff, t[j], t[j + 8], 0xdd));
    }
}

// A whole panel of b[n,k], `rows` of them, with `depth` bytes.
LLMC_VNNI inline void pack_nt(uint8_t* packed, const int8_t* b, int64_t stride, int64_t rows, int64_t depth) {
    for (int64_t n = 0; n < kPanel; n += 16) {
        uint8_t* half = packed + n / kCols * kDepth * kCols + n % kCols * 4;
        for (int64_t k = 0; k < depth; k += 64)
            pack_transposed(half + k * kCols, b + n * stride + k, stride, rows - n, depth - k);
    }
}

// A whole panel of b[k,n], `cols` of them: the bytes of four rows, one from each in turn.
LLMC_VNNI inline void pack_nn(uint8_t* packed, const int8_t* b, int64_t stride, int64_t cols, int64_t depth) {
    const uint64_t mask = byte_mask(cols);
    for (int64_t k = 0; k < depth; k += 4) {
        __m512i x[4], t[4];
        LLMC_UNROLL for (int i = 0; i < 4; i++) x[i] =
            k + i < depth ? load_unsigned(b + (k + i) * stride, mask) : _mm512_setzero_si512();
        t[0] = _mm512_unpacklo_epi8(x[0], x[1]);
        t[1] = _mm512_unpackhi_epi8(x[0], x[1]);
        t[2] = _mm512_unpacklo_epi8(x[2], x[3]);
        t[3] = _mm512_unpackhi_epi8(x[2], x[3]);
        x[0] = _mm512_unpacklo_epi16(t[0], t[2]);  // columns 16 l .. 16 l + 3 in quarter l
        x[1] = _mm512_unpackhi_epi16(t[0], t[2]);
        x[2] = _mm512_unpacklo_epi16(t[1], t[3]);
        x[3] = _mm512_unpackhi_epi16(t[1], t[3]);
        LLMC_UNROLL for (int j = 0; j < 2; j++) {
            t[j] = _mm512_maskz_shuffle_i32x4(0xffff, x[2 * j], x[2 * j + 1], 0x88);
            t[j + 2] = _mm512_maskz_shuffle_i32x4(0xffff, x[2 * j], x[2 * j + 1], 0xdd);
        }
        uint8_t* left = packed + k * kCols;
        uint8_t* right = left + kDepth * kCols;
        _mm512_storeu_si512(left, _mm512_maskz_shuffle_i32x4(0xffff, t[0], t[1], 0x88));
        _mm512_storeu_si512(left + 64, _mm512_maskz_shuffle_i32x4(0xffff, t[2], t[3], 0x88));
        _mm512_storeu_si512(right, _mm512_maskz_shuffle_i32x4(0xffff, t[0], t[1], 0xdd));
        _mm512_storeu_si512(right + 64, _mm512_maskz_shuffle_i32x4(0xffff, t[2], t[3], 0xdd));
    }
}
// Where sums end: y = row_scale col_scale (sums - 128 row_sums) + bias, of up to kCols columns. Null: 1 and 0.
struct Output {
    float* y;
    int64_t stride, cols;
    const float *row_scale, *col_scale, *bias;
    const int32_t* row_sums;

    Output rows_from(int64_t row) const {
        return {y + row * stride, stride, cols, row_scale + row, col_scale, bias, row_sums + row};
    }
};

LLMC_VNNI inline void dequantize(const Output& out, int64_t row, int64_t col, __m512i sums) {
    const uint16_t mask = lane_mask(out.cols - col);
    const __m512i surplus = _mm512_set1_epi32(128 * out.row_sums[row]);
    __m512 scale = _mm512_set1_ps(out.row_scale[row]);
    if (out.col_scale != nullptr) scale = _mm512_mul_ps(scale, _mm512_maskz_loadu_ps(mask, out.col_scale + col));
    const __m512 number = _mm512_maskz_cvtepi32_ps(0xffff, _mm512_sub_epi32(sums, surplus));
    const __m512 value = out.bias != nullptr
                             ? _mm512_fmadd_ps(scale, number, _mm512_maskz_loadu_ps(mask, out.bias + col))
                             : _mm512_mul_ps(scale, number);
    _mm512_mask_storeu_ps(out.y + row * out.stride + col, mask, value);
}

// R rows of `a`, `depth` terms of each, times half a panel. The sums so far are in `sums` unless these are the `first`
// terms; they go back there, or to `out` if these are the last.
template <int R>
LLMC_VNNI void multiply_rows(const int8_t* a, int64_t stride, int64_t depth, const uint8_t* packed, int32_t* sums,
                             bool first, const Output* out) {
    __m512i acc[R][2];
    LLMC_UNROLL for (int m = 0; m < R; m++) {
        LLMC_UNROLL for (int j = 0; j < 2; j++) acc[m][j] =
            first ? _mm512_setzero_si512() : _mm512_loadu_si512(sums + m * kPanel + 16 * j);
    }
    const auto quadruple = [](const int8_t* from, int64_t count) {
        int32_t bytes = 0;
        std::memcpy(&bytes, from, static_cast<size_t>(count));
        return bytes;
    };
    for (int64_t k = 0; k + 4 <= depth; k += 4) {
        const __m512i left = _mm512_loadu_si512(packed + k * kCols),
                      right = _mm512_loadu_si512(packed + k * kCols + 64);
        LLMC_UNROLL for (int m = 0; m < R; m++) {
            const __m512i x = _mm512_set1_epi32(quadruple(a + m * stride + k, 4));
            acc[m][0] = _mm512_dpbusd_epi32(acc[m][0], left, x);
            acc[m][1] = _mm512_dpbusd_epi32(acc[m][1], right, x);
        }
    }
    if (const int64_t k = depth / 4 * 4; k < depth) {
        const __m512i left = _mm512_loadu_si512(packed + k * kCols),
                      right = _mm512_loadu_si512(packed + k * kCols + 64);
        LLMC_UNROLL for (int m = 0; m < R; m++) {
            const __m512i x = _mm512_set1_epi32(quadruple(a + m * stride + k, depth - k));
            acc[m][0] = _mm512_dpbusd_epi32(acc[m][0], left, x);
            acc[m][1] = _mm512_dpbusd_epi32(acc[m][1], right, x);
        }
    }
    LLMC_UNROLL for (int m = 0; m < R; m++) {
        LLMC_UNROLL for (int j = 0; j < 2; j++) {
            if (out == nullptr)
                _mm512_storeu_si512(sums + m * kPanel + 16 * j, acc[m][j]);
            else
                dequantize(*out, m, 16 * j, acc[m][j]);
        }
    }
}

// All rows of `a` times half a panel; the rest of a division by R goes to smaller blocks.
template <int R>
void multiply(Matrix<const int8_t> a, const uint8_t* packed, int32_t* sums, bool first, const Output* out,
              int64_t row = 0) {
    for (; row + R <= a.rows; row += R) {
        const Output here = out ? out->rows_from(row) : Output{};
        multiply_rows<R>(a.row(row), a.stride, a.cols, packed, sums + row * kPanel, first, out ? &here : nullptr);
    }
    if constexpr (R > 1) multiply<R == kRows ? 8 : R / 2>(a, packed, sums, first, out, row);
}

// Columns col .. col + kPanel of y, in the rows that `out` begins with.
inline void multiply_panel(Matrix<const int8_t> a, Matrix<const int8_t> b, bool transpose_b, int64_t col,
                           const Output& out, int32_t* workspace) {
    auto* packed = reinterpret_cast<uint8_t*>(workspace);
    int32_t* sums = workspace + kDepth * kPanel / 4;
    const int64_t blocks = (a.cols + kDepth - 1) / kDepth, depth = ((a.cols + blocks - 1) / blocks + 63) / 64 * 64;
    for (int64_t k = 0; k < a.cols; k += depth) {
        const Matrix<const int8_t> part = a.columns(k, std::min(depth, a.cols - k));
        if (transpose_b)
            pack_nt(packed, b.row(col) + k, b.stride, out.cols, part.cols);
        else
            pack_nn(packed, b.row(k) + col, b.stride, out.cols, part.cols);
        const bool last = k + depth >= a.cols;
        for (int64_t half = 0; half < out.cols; half += kCols) {
            Output half_out = out;
            half_out.y += half;
            half_out.cols = std::min(kCols, out.cols - half);
            if (out.col_scale) half_out.col_scale += half;
            if (out.bias) half_out.bias += half;
            multiply<kRows>(part, packed + half * kDepth, sums + half, k == 0, last ? &half_out : nullptr);
        }
    }
}

// y[m, o .. o + C] for the M rows of `a` and C rows of b, which are read once, as they lie.
template <int M, int C>
LLMC_VNNI void multiply_few(Matrix<const int8_t> a, Matrix<const int8_t> b, int64_t o, const Output& out) {
    __m512i sums[M][C];
    LLMC_UNROLL for (int m = 0; m < M; m++) {
        LLMC_UNROLL for (int c = 0; c < C; c++) sums[m][c] = _mm512_setzero_si512();
    }
    for (int64_t k = 0; k < a.cols; k += 64) {
        const uint64_t mask = byte_mask(a.cols - k);
        __m512i x[C];
        LLMC_UNROLL for (int c = 0; c < C; c++) x[c] = load_unsigned(b.row(o + c) + k, mask);
        LLMC_UNROLL for (int m = 0; m < M; m++) {
            const __m512i row = _mm512_maskz_loadu_epi8(mask, a.row(m) + k);
            LLMC_UNROLL for (int c = 0; c < C; c++) sums[m][c] = _mm512_dpbusd_epi32(sums[m][c], x[c], row);
        }
    }
    LLMC_UNROLL for (int m = 0; m < M; m++) {
        LLMC_UNROLL for (int c = 0; c < C; c++) {
            const int32_t sum = sum_of(sums[m][c]) - 128 * out.row_sums[m];
            const float scale = out.col_scale ? out.row_scale[m] * out.col_scale[o + c] : out.row_scale[m];
            out.y[m * out.stride + o + c] = scale * static_cast<float>(sum) + (out.bias ? out.bias[o + c] : 0.0f);
        }
    }
}

template <int C>
void multiply_few(Matrix<const int8_t> a, Matrix<const int8_t> b, int64_t o, const Output& out) {
    switch (a.rows) {
        case 1:
            return multiply_few<1, C>(a, b, o, out);
        case 2:
            return multiply_few<2, C>(a, b, o, out);
        case 3:
            return multiply_few<3, C>(a, b, o, out);
        default:
            return multiply_few<kFewRows, C>(a, b, o, out);
    }
}

// y = dequantised a op(b). The workspace has kWorkspace integers for each of the device's threads.
inline void gemm(const Device& device, Matrix<float> y, Matrix<const int8_t> a, Matrix<const int8_t> b,
                 bool transpose_b, const float* row_scale, const float* col_scale, const float* bias,
                 std::span<int32_t> workspace) {
    require(a.cols <= kLongestSum, "an int8 product of ", a.cols, " terms overflows");
    // As many panels as keep every thread busy.
    const int64_t panels = (y.cols + kPanel - 1) / kPanel;
    int64_t chunk = kChunk;
    while (chunk > 2 * kRows && panels * ((y.rows + chunk - 1) / chunk) < 4 * device.threads) chunk /= 2;
#pragma omp parallel num_threads(device.threads)
    {
        int32_t row_sums[kChunk];
        int32_t* own = workspace.data() + omp_get_thread_num() * kWorkspace;
        for (int64_t row = 0; row < y.rows; row += chunk) {
            const Matrix<const int8_t> rows = a.rows_at(row, std::min(chunk, y.rows - row));
            sum_rows(row_sums, rows);
            const Output out{y.row(row), y.stride, y.cols, row_scale + row, col_scale, bias, row_sums};
            if (transpose_b && rows.rows <= kFewRows) {
#pragma omp for schedule(static) nowait
                for (int64_t o = 0; o < y.cols; o += 4) {
                    if (o + 4 <= y.cols)
                        multiply_few<4>(rows, b, o, out);
                    else
                        for (int64_t last = o; last < y.cols; last++) multiply_few<1>(rows, b, last, out);
                }
                continue;
            }
#pragma omp for schedule(dynamic) nowait
            for (int64_t col = 0; col < y.cols; col += kPanel) {
                const Output panel{y.row(row) + col,
                                   y.stride,
                                   std::min(kPanel, y.cols - col),
                                   row_scale + row,
                                   col_scale ? col_scale + col : nullptr,
                                   bias ? bias + col : nullptr,
                                   row_sums};
                multiply_panel(rows, b, transpose_b, col, panel, own);
            }
        }
    }
}

#undef LLMC_VNNI
#undef LLMC_UNROLL
#endif

}  // namespace cpu::vnni
