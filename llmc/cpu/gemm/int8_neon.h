// int8 products of 64-bit Arm processors: two Kernels of int8_panels.h.
//
//   Sdot    SDOT adds four products of signed bytes to each of 4 integers, exactly (Armv8.2's dot product)
//   Smmla   SMMLA adds eight products to each of 2 x 2 integers, exactly (Armv8.6's int8 matrix multiplication)
//
// The 8 x 8 sums fill 16 of the 32 registers. Terms of a column lie in groups of T, as many as the instruction adds:
// term k of column n is at
//
//   packed[(n/8 * kDepth + k/T * T) * 8 + n%8 * T + k%T]
#pragma once

#ifdef __aarch64__

#include <arm_neon.h>
#include <sys/auxv.h>

#include <algorithm>
#include <cstring>

#include "llmc/cpu/gemm/int8_panels.h"
#include "llmc/cpu/gemm/unroll.h"

// No attribute where all code may use the instructions: it would keep other functions from being inlined.
#ifdef __ARM_FEATURE_DOTPROD
#define LLMC_SDOT
#else
#define LLMC_SDOT __attribute__((target("arch=armv8.2-a+dotprod")))
#endif
#ifdef __ARM_FEATURE_MATMUL_INT8
#define LLMC_SMMLA
#else
#define LLMC_SMMLA __attribute__((target("arch=armv8.2-a+dotprod+i8mm")))
#endif

namespace cpu {

// What the two have in common: any 64-bit Arm processor has these instructions.
template <int T>
struct NeonPanels {
    static constexpr int kRows = 8;
    static constexpr int64_t kDepth = 2048, kPackedBytes = 1, kJointPairs = 0;

    static void sum_rows(int32_t*, Matrix<const int8_t>) {}

    static void pack_nt(uint8_t* packed, const int8_t* b, int64_t stride, int64_t cols, int64_t depth) {
        for (int64_t n = 0; n < round_up(cols, kCols); n++) {
            uint8_t* to = packed + n / kCols * kDepth * kCols + n % kCols * T;
            const int64_t there = n < cols ? depth : 0;
            for (int64_t k = 0; k < round_up(depth, kStep); k += T) {
                if (k + T <= there) {
                    std::memcpy(to + k * kCols, b + n * stride + k, T);
                } else {
                    std::memset(to + k * kCols, 0, T);
                    if (k < there) std::memcpy(to + k * kCols, b + n * stride + k, static_cast<size_t>(there - k));
                }
            }
        }
    }

    // Interleaves the bytes of T rows.
    static void pack_nn(uint8_t* packed, const int8_t* b, int64_t stride, int64_t cols, int64_t depth) {
        for (int64_t k = 0; k < round_up(depth, kStep); k += T) {
            for (int64_t n = 0; n < cols; n += kCols) {
                int8x8_t x[T];
                LLMC_UNROLL
                for (int i = 0; i < T; i++) {
                    x[i] = vdup_n_s8(0);
                    if (k + i < depth) x[i] = load_half(b + (k + i) * stride + n, cols - n);
                }
                auto* to = reinterpret_cast<int8_t*>(packed) + (n * kDepth + k * kCols);
                if constexpr (T == 4) {
                    vst4_s8(to, {{x[0], x[1], x[2], x[3]}});
                } else {  // bytes of rows 0 and 4 in turns, and so on: the store takes one of each of the four in turns
                    vst4q_s8(to, {{zip(x[0], x[4]), zip(x[1], x[5]), zip(x[2], x[6]), zip(x[3], x[7])}});
                }
            }
        }
    }

  protected:
    static constexpr int64_t kCols = 8;   // of sums in registers
    static constexpr int64_t kStep = 16;  // terms at a time

    static const int8_t* columns_at(const uint8_t* packed, int64_t col) {
        return reinterpret_cast<const int8_t*>(packed) + col * kDepth;
    }

    // The terms of R rows after the last whole step, and zeros.
    template <int R>
    struct Rest {
        int8_t terms[R * kStep] = {};

        Rest(const int8_t* a, int64_t stride, int64_t count) {
            for (int m = 0; m < R && count > 0; m++)
                std::memcpy(terms + m * kStep, a + m * stride, static_cast<size_t>(count));
        }
    };

    // Up to kStep terms; the rest is zero.
    static int8x16_t load(const int8_t* from, int64_t count) {
        if (count >= kStep) return vld1q_s8(from);
        int8_t bytes[kStep] = {};
        if (count > 0) std::memcpy(bytes, from, static_cast<size_t>(count));
        return vld1q_s8(bytes);
    }

    // Adds the sums so far, if any, and stores or dequantises 8 columns from `col` on.
    template <int R>
    static void finish(int32x4_t (&acc)[R][2], int64_t col, int32_t* sums, bool first, const panels::Output* out) {
        LLMC_UNROLL
        for (int m = 0; m < R; m++) {
            int32_t* there = sums + m * panels::kPanel + col;
            LLMC_UNROLL
            for (int j = 0; j < 2; j++) {
                if (!first) acc[m][j] = vaddq_s32(acc[m][j], vld1q_s32(there + 4 * j));
                if (out == nullptr || out->cols < col + kCols)
                    vst1q_s32(there + 4 * j, acc[m][j]);
                else
                    dequantize(*out, m, col + 4 * j, acc[m][j]);
            }
            if (out == nullptr) continue;
            // The last columns of a matrix, fewer than the registers hold.
            for (int64_t n = out->cols / kCols * kCols; n < out->cols && n >= col; n++) out->set(m, n, there[n - col]);
        }
    }

  private:
    static int8x8_t load_half(const int8_t* from, int64_t count) {
        if (count >= 8) return vld1_s8(from);
        int8_t bytes[8] = {};
        std::memcpy(bytes, from, static_cast<size_t>(count));
        return vld1_s8(bytes);
    }

    static int8x16_t zip(int8x8_t even, int8x8_t odd) { return vcombine_s8(vzip1_s8(even, odd), vzip2_s8(even, odd)); }

    static void dequantize(const panels::Output& out, int64_t row, int64_t col, int32x4_t sums) {
        float32x4_t scale = vdupq_n_f32(out.row_scale[row]);
        if (out.col_scale != nullptr) scale = vmulq_f32(scale, vld1q_f32(out.col_scale + col));
        float32x4_t value = vcvtq_f32_s32(sums);
        if (out.bias != nullptr)
            value = vfmaq_f32(vld1q_f32(out.bias + col), scale, value);
        else
            value = vmulq_f32(scale, value);
        vst1q_f32(out.y + row * out.stride + col, value);
    }
};

struct Sdot : NeonPanels<4> {
    static bool is_supported() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }

    template <int R>
    LLMC_SDOT static void multiply(const int8_t* a, int64_t stride, int64_t depth, const uint8_t* packed, int64_t cols,
                                   int32_t* sums, bool first, const panels::Output* out) {
        const int64_t whole = depth / kStep * kStep;
        const Rest<R> rest(a + whole, stride, depth - whole);
        for (int64_t col = 0; col < cols; col += kCols) {
            const int8_t* b = columns_at(packed, col);
            int32x4_t acc[R][2];
            LLMC_UNROLL
            for (int m = 0; m < R; m++) acc[m][0] = acc[m][1] = vdupq_n_s32(0);
            for (int64_t k = 0; k < whole; k += kStep) add<R>(acc, a + k, stride, b + k * kCols);
            if (whole < depth) add<R>(acc, rest.terms, kStep, b + whole * kCols);
            finish<R>(acc, col, sums, first, out);
        }
    }

    template <int M, int C>
    LLMC_SDOT static void multiply_few(Matrix<const int8_t> a, Matrix<const int8_t> b, int64_t o,
                                       const panels::Output& out) {
        int32x4_t sums[M][C];
        LLMC_UNROLL
        for (int m = 0; m < M; m++) {
            LLMC_UNROLL
            for (int c = 0; c < C; c++) sums[m][c] = vdupq_n_s32(0);
        }
        for (int64_t k = 0; k < a.cols; k += kStep) {
            int8x16_t x[C];
            LLMC_UNROLL
            for (int c = 0; c < C; c++) x[c] = load(b.row(o + c) + k, a.cols - k);
            LLMC_UNROLL
            for (int m = 0; m < M; m++) {
                const int8x16_t row = load(a.row(m) + k, a.cols - k);
                LLMC_UNROLL
                for (int c = 0; c < C; c++) sums[m][c] = vdotq_s32(sums[m][c], row, x[c]);
            }
        }
        for (int m = 0; m < M; m++)
            for (int c = 0; c < C; c++) out.set(m, o + c, vaddvq_s32(sums[m][c]));
    }

  private:
    // The products of 16 terms of R rows and 8 columns.
    template <int R>
    LLMC_SDOT static void add(int32x4_t (&acc)[R][2], const int8_t* a, int64_t stride, const int8_t* b) {
        int8x16_t x[R];
        LLMC_UNROLL
        for (int m = 0; m < R; m++) x[m] = vld1q_s8(a + m * stride);
        add_four<R, 0>(acc, x, b);
        add_four<R, 1>(acc, x, b);
        add_four<R, 2>(acc, x, b);
        add_four<R, 3>(acc, x, b);
    }

    template <int R, int quarter>
    LLMC_SDOT static void add_four(int32x4_t (&acc)[R][2], const int8x16_t (&x)[R], const int8_t* b) {
        const int8x16_t left = vld1q_s8(b + quarter * 32), right = vld1q_s8(b + quarter * 32 + 16);
        LLMC_UNROLL
        for (int m = 0; m < R; m++) {
            acc[m][0] = vdotq_laneq_s32(acc[m][0], left, x[m], quarter);
            acc[m][1] = vdotq_laneq_s32(acc[m][1], right, x[m], quarter);
        }
    }
};

struct Smmla : NeonPanels<8> {
    static bool is_supported() { return Sdot::is_supported() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0; }

    template <int R>
    LLMC_SMMLA static void multiply(const int8_t* a, int64_t stride, int64_t depth, const uint8_t* packed, int64_t cols,
                                    int32_t* sums, bool first, const panels::Output* out) {
        const int64_t whole = depth / kStep * kStep;
        const Rest<R> rest(a + whole, stride, depth - whole);
        for (int64_t col = 0; col < cols; col += kCols) {
            const int8_t* b = columns_at(packed, col);
            int32x4_t pairs[kPairs<R>][4];  // of rows, times pairs of columns
            LLMC_UNROLL
            for (auto& pair : pairs) pair[0] = pair[1] = pair[2] = pair[3] = vdupq_n_s32(0);
            for (int64_t k = 0; k < whole; k += kStep) add<R>(pairs, a + k, stride, b + k * kCols);
            if (whole < depth) add<R>(pairs, rest.terms, kStep, b + whole * kCols);
            int32x4_t acc[R][2];
            LLMC_UNROLL
            for (int m = 0; m < R; m++) {
                LLMC_UNROLL
                for (int j = 0; j < 2; j++) {
                    const int32x4_t left = pairs[m / 2][2 * j], right = pairs[m / 2][2 * j + 1];
                    acc[m][j] = m % 2 == 0 ? vcombine_s32(vget_low_s32(left), vget_low_s32(right))
                                           : vcombine_s32(vget_high_s32(left), vget_high_s32(right));
                }
            }
            finish<R>(acc, col, sums, first, out);
        }
    }

    // b is read once, which takes longer than the products.
    template <int M, int C>
    static void multiply_few(Matrix<const int8_t> a, Matrix<const int8_t> b, int64_t o, const panels::Output& out) {
        Sdot::multiply_few<M, C>(a, b, o, out);
    }

  private:
    template <int R>
    static constexpr int kPairs = (R + 1) / 2;

    // The products of 16 terms of R rows and 8 columns.
    template <int R>
    LLMC_SMMLA static void add(int32x4_t (&pairs)[kPairs<R>][4], const int8_t* a, int64_t stride, const int8_t* b) {
        add_eight<R>(pairs, a, stride, b);
        add_eight<R>(pairs, a + 8, stride, b + 64);
    }

    // A single row is paired with zeros.
    template <int R>
    LLMC_SMMLA static void add_eight(int32x4_t (&pairs)[kPairs<R>][4], const int8_t* a, int64_t stride,
                                     const int8_t* b) {
        int8x16_t x[kPairs<R>];
        LLMC_UNROLL
        for (int p = 0; p < kPairs<R>; p++) {
            const int8x8_t odd = R > 1 ? vld1_s8(a + (2 * p + 1) * stride) : vdup_n_s8(0);
            x[p] = vcombine_s8(vld1_s8(a + 2 * p * stride), odd);
        }
        LLMC_UNROLL
        for (int j = 0; j < 4; j++) {
            const int8x16_t columns = vld1q_s8(b + 16 * j);
            LLMC_UNROLL
            for (int p = 0; p < kPairs<R>; p++) pairs[p][j] = vmmlaq_s32(pairs[p][j], x[p], columns);
        }
    }
};

}  // namespace cpu

#undef LLMC_SDOT
#undef LLMC_SMMLA
#endif
