// GEMMs of int8 matrices, dequantised on the way out; the integer sums are exact (see int8_product.h).
//
//   forward:                int8_gemm_nt          y[n,o] = row_scale[n] col_scale[o] sum_i xq[n,i] wq[o,i] + bias[o]
//                                                          + sum_k z[n,k] wz[o,k]
//   gradient of the input:  int8_gemm_nn          y[n,i] = row_scale[n] sum_o gq[n,o] wq[o,i]
//   the same, dy as it is:  dequantized_gemm_nn   y[n,i] = sum_o dy[n,o] col_scale[o] wq[o,i]
//
// y is written (=); bias may be null. z and wz may have no columns ({}). Their product is a GEMM of its own, which adds
// to y; where it is of bf16 numbers it is added in the registers of the AVX-512 kernel, which in fp32 took as long. The
// product of all of y as integers never exists: with the instructions there are kernels for, sums are dequantised in
// registers (int8_panels.h); elsewhere the threads share out tiles of y, whose product is made in the thread's part of
// the workspace and dequantised from there.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "llmc/cpu/device.h"
#include "llmc/cpu/gemm.h"
#include "llmc/cpu/int8_avx2.h"
#include "llmc/cpu/int8_product.h"
#include "llmc/cpu/int8_vnni.h"

namespace cpu {

// How y is cut. Large tiles, because a product first packs its operands: of 512 x 2048 x 2560, tiles of 128 columns
// reach 332 GOP/s on one core and 512 columns 399; one oneDNN call with all threads is no faster and has all of them
// wait for the slowest. But at least one tile a thread, and about as many for each.
struct Int8Tiling {
    static constexpr int64_t kLargest = 512;
    int64_t rows, cols;  // of a tile

    Int8Tiling(const Device& device, int64_t y_rows, int64_t y_cols) {
        constexpr int64_t kSmallest = 64;
        int64_t down = ceil_div(y_rows, kLargest);
        int64_t across = ceil_div(y_cols, kLargest);
        do {
            rows = ceil_div(y_rows, down);
            cols = (ceil_div(y_cols, across) + 15) / 16 * 16;
            const int64_t tiles = down * across;
            if (tiles >= 4 * device.threads || tiles % device.threads == 0) break;
            (rows > cols ? down : across)++;
        } while (rows > kSmallest || cols > kSmallest);
    }

    static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
};

// Rows and columns that operands are planned with: here as they are, on other devices multiples of what theirs take.
inline int64_t padded_tokens(const Device& /*device*/, int64_t tokens) {
    return tokens;
}
inline int64_t padded_features(const Device& /*device*/, int64_t features) {
    return features;
}

// y = sums scale col_scale + bias; null: 1 and 0.
inline void dequantize_row(float* y, const int32_t* sums, float scale, const float* col_scale, const float* bias,
                           int64_t count) {
    if (bias != nullptr && col_scale != nullptr) {
#pragma omp simd
        for (int64_t j = 0; j < count; j++) y[j] = scale * col_scale[j] * static_cast<float>(sums[j]) + bias[j];
    } else if (bias != nullptr) {
#pragma omp simd
        for (int64_t j = 0; j < count; j++) y[j] = scale * static_cast<float>(sums[j]) + bias[j];
    } else if (col_scale != nullptr) {
#pragma omp simd
        for (int64_t j = 0; j < count; j++) y[j] = scale * col_scale[j] * static_cast<float>(sums[j]);
    } else {
#pragma omp simd
        for (int64_t j = 0; j < count; j++) y[j] = scale * static_cast<float>(sums[j]);
    }
}

// y = dequantised a op(b), by tiles.
inline void int8_gemm_by_tiles(const Device& device, Matrix<float> y, Matrix<const int8_t> a, Matrix<const int8_t> b,
                               bool transpose_b, const float* row_scale, const float* col_scale, const float* bias,
                               const panels::Joint& /*joint*/, std::span<int32_t> workspace) {
    const Int8Product product = int8_product();
    const Int8Tiling tiling(device, y.rows, y.cols);
#pragma omp parallel num_threads(device.threads)
    {
        int32_t* tile = workspace.data() + omp_get_thread_num() * Int8Tiling::kLargest * Int8Tiling::kLargest;
#pragma omp for collapse(2) schedule(dynamic)
        for (int64_t col = 0; col < y.cols; col += tiling.cols) {
            for (int64_t row = 0; row < y.rows; row += tiling.rows) {
                const Matrix<int32_t> sums(tile, std::min(tiling.rows, y.rows - row),
                                           std::min(tiling.cols, y.cols - col));
                if (a.cols == 0)
                    std::fill_n(sums.data, sums.size(), 0);  // undefined for oneDNN
                else
                    product(sums, a.rows_at(row, sums.rows),
                            transpose_b ? b.rows_at(col, sums.cols) : b.columns(col, sums.cols), transpose_b);
                for (int64_t n = 0; n < sums.rows; n++) {
                    dequantize_row(y.row(row + n) + col, sums.row(n), row_scale[row + n],
                                   col_scale ? col_scale + col : nullptr, bias ? bias + col : nullptr, sums.cols);
                }
            }
        }
    }
}

// A way to compute y = dequantised a op(b), and the integers of workspace that each thread needs for it.
struct Int8Gemm {
    decltype(&int8_gemm_by_tiles) multiply = int8_gemm_by_tiles;
    int64_t workspace = Int8Tiling::kLargest * Int8Tiling::kLargest;
    int64_t joint_terms = 0;  // of z wz^T that it adds: none, or up to so many, as bf16
};

// Those there are for this processor, the fastest first.
inline std::vector<Int8Gemm> int8_gemms() {
    std::vector<Int8Gemm> all;
#ifdef __x86_64__
    if (Vnni::is_supported())
        all.push_back(
            {panels::gemm<Vnni>, panels::kWorkspace<Vnni>, has_bf16_instructions() ? 2 * Vnni::kJointPairs : 0});
    // Where oneDNN's products are exact it has instructions that are better than AVX2's.
    if (Avx2::is_supported() && int8_product() == widening_int8_product)
        all.push_back({panels::gemm<Avx2>, panels::kWorkspace<Avx2>});
#endif
    all.push_back({});
    return all;
}

inline const Int8Gemm& fastest_int8_gemm() {
    static const Int8Gemm fastest = int8_gemms().front();
    return fastest;
}

inline int64_t int8_gemm_workspace(const Device& device) {
    return device.threads * fastest_int8_gemm().workspace;
}
inline int64_t int8_gemm_nn_workspace(const Device& device, int64_t /*out_features*/, int64_t /*in_features*/) {
    return int8_gemm_workspace(device);
}

inline void int8_gemm(const Device& device, Matrix<float> y, Matrix<const int8_t> a, Matrix<const int8_t> b,
                      bool transpose_b, const float* row_scale, const float* col_scale, const float* bias,
                      const panels::Joint& joint, std::span<int32_t> workspace) {
    if (y.empty()) return;
    require(static_cast<int64_t>(workspace.size()) >= int8_gemm_workspace(device),
            "the int8 GEMM needs a workspace of ", int8_gemm_workspace(device), " elements and got ", workspace.size());
    const Int8Gemm& gemm = fastest_int8_gemm();
    const bool at_once =
        device.products == Products::bf16 && joint.z.cols <= gemm.joint_terms && y.rows > panels::kFewRows;
    gemm.multiply(device, y, a, b, transpose_b, row_scale, col_scale, bias, at_once ? joint : panels::Joint{},
                  workspace);
    if (!at_once && joint.z.cols > 0) gemm_nt(device, y, joint.z, joint.wz, 1.0f, 1.0f);
}

inline void int8_gemm_nt(const Device& device, Matrix<float> y, Matrix<const int8_t> xq, const float* row_scale,
                         Matrix<const int8_t> wq, const float* col_scale, const float* bias, Matrix<const float> z,
                         Matrix<const float> wz, std::span<int32_t> workspace) {
    int8_gemm(device, y, xq, wq, true, row_scale, col_scale, bias, {z, wz}, workspace);
}

inline void int8_gemm_nn(const Device& device, Matrix<float> y, Matrix<const int8_t> gq, const float* row_scale,
                         Matrix<const int8_t> wq, std::span<int32_t> workspace) {
    int8_gemm(device, y, gq, wq, false, row_scale, nullptr, nullptr, {}, workspace);
}

// Rows of W that are dequantised at a time: a contraction long enough for the GEMM's rate.
constexpr int64_t kDequantizedRows = 256;

inline int64_t dequantized_gemm_workspace(const Device& /*device*/, int64_t out_features, int64_t in_features) {
    return std::min(kDequantizedRows, out_features) * in_features;
}

inline void dequantized_gemm_nn(const Device& device, Matrix<float> y, Matrix<const float> dy, Matrix<const int8_t> wq,
                                const float* col_scale, std::span<float> workspace) {
    require(static_cast<int64_t>(workspace.size()) >= dequantized_gemm_workspace(device, wq.rows, wq.cols),
            "the dequantised GEMM needs a workspace of ", dequantized_gemm_workspace(device, wq.rows, wq.cols),
            " elements and got ", workspace.size());
    for (int64_t begin = 0; begin < wq.rows; begin += kDequantizedRows) {
        const Matrix<float> w(workspace.data(), std::min(kDequantizedRows, wq.rows - begin), wq.cols);
#pragma omp parallel for num_threads(device.threads) schedule(static)
        for (int64_t o = 0; o < w.rows; o++) {
            const int8_t* wq_row = wq.row(begin + o);
            const float scale = col_scale[begin + o];
            float* w_row = w.row(o);
#pragma omp simd
            for (int64_t i = 0; i < w.cols; i++) w_row[i] = scale * static_cast<float>(wq_row[i]);
        }
        gemm_nn(device, y, dy.columns(begin, w.rows), w, 1.0f, begin == 0 ? 0.0f : 1.0f);
    }
}

}  // namespace cpu
