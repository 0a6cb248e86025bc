// The ways to multiply int8 matrices and dequantise the product (int8_gemm.h) on the processor at hand.
//
// If there is a kernel for its instructions, sums are dequantised in registers (int8_panels.h). Otherwise the threads
// share out tiles of y; the integer product of a tile goes to the thread's part of the workspace and is dequantised
// from there.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "llmc/core/integers.h"
#include "llmc/cpu/device.h"
#include "llmc/cpu/gemm/bf16_gemm.h"
#include "llmc/cpu/gemm/int8_avx2.h"
#include "llmc/cpu/gemm/int8_neon.h"
#include "llmc/cpu/gemm/int8_product.h"
#include "llmc/cpu/gemm/int8_vnni.h"

namespace cpu {

// How y is cut. Tiles are large, because a product first packs its operands: of 512 x 2048 x 2560, tiles of 128 columns
// reach 332 GOP/s on one core and 512 columns 399. One oneDNN call with all threads is no faster and makes all of them
// wait for the slowest. But each thread gets at least one tile, and about as many as the others. A tile has whole
// blocks of a rotation.
struct Int8Tiling {
    static constexpr int64_t kLargest = 512;
    int64_t rows, cols;  // of a tile

    Int8Tiling(const Device& device, int64_t y_rows, int64_t y_cols) {
        constexpr int64_t kSmallest = 64;
        int64_t down = ceil_div(y_rows, kLargest);
        int64_t across = ceil_div(y_cols, kLargest);
        do {
            rows = ceil_div(y_rows, down);
            cols = round_up(ceil_div(y_cols, across), kLargestHadamard);
            const int64_t tiles = down * across;
            if (tiles >= 4 * device.threads || tiles % device.threads == 0) break;
            (rows > cols ? down : across)++;
        } while (rows > kSmallest || cols > kSmallest);
    }
};

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

// y = (dequantised a op(b)) H, by tiles.
inline void int8_gemm_by_tiles(const Device& device, Matrix<float> y, Matrix<const int8_t> a, Matrix<const int8_t> b,
                               bool transpose_b, const float* row_scale, const float* col_scale, const float* bias,
                               const panels::Joint& joint, int64_t rotation, std::span<int32_t> workspace) {
    require(joint.z.cols == 0, "an int8 GEMM by tiles adds no joint product");
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
                    std::fill_n(sums.data, sums.size(), 0);  // oneDNN leaves it undefined
                else
                    product(sums, a.rows_at(row, sums.rows),
                            transpose_b ? b.rows_at(col, sums.cols) : b.columns(col, sums.cols), transpose_b);
                for (int64_t n = 0; n < sums.rows; n++) {
                    dequantize_row(y.row(row + n) + col, sums.row(n), row_scale[row + n],
                                   col_scale ? col_scale + col : nullptr, bias ? bias + col : nullptr, sums.cols);
                    hadamard_row(y.row(row + n) + col, sums.cols, rotation);
                }
            }
        }
    }
}

// A way to compute y = (dequantised a op(b)) H, and the integers of workspace that each thread needs for it.
struct Int8Gemm {
    decltype(&int8_gemm_by_tiles) multiply = int8_gemm_by_tiles;
    int64_t workspace = Int8Tiling::kLargest * Int8Tiling::kLargest;
    int64_t joint_terms = 0;  // most terms of z wz^T that it adds, as bf16; 0: none
};

// Those for this processor, the fastest first.
inline std::vector<Int8Gemm> int8_gemms() {
    std::vector<Int8Gemm> all;
#ifdef __x86_64__
    if (Vnni::is_supported())
        all.push_back(
            {panels::gemm<Vnni>, panels::kWorkspace<Vnni>, has_bf16_instructions() ? 2 * Vnni::kJointPairs : 0});
    // If oneDNN's products are exact, it has better instructions than AVX2's.
    if (Avx2::is_supported() && int8_product() == widening_int8_product)
        all.push_back({panels::gemm<Avx2>, panels::kWorkspace<Avx2>});
#endif
#ifdef __aarch64__
    if (Smmla::is_supported()) all.push_back({panels::gemm<Smmla>, panels::kWorkspace<Smmla>});
    if (Sdot::is_supported()) all.push_back({panels::gemm<Sdot>, panels::kWorkspace<Sdot>});
#endif
    all.push_back({});
    return all;
}

}  // namespace cpu
