// GEMMs of int8 matrices with the dequantisation of section 2 of the method, summed exactly in int32.
//
//   int8_gemm_nt         y[n,o] = row_scale[n] col_scale[o] sum_i xq[n,i] wq[o,i]  (+ bias[o])      forward
//   int8_gemm_nn         y[n,i] = row_scale[n] sum_o gq[n,o] wq[o,i]                                gradient of the
//   input dequantized_gemm_nn  y[n,i] = sum_o dy[n,o] col_scale[o] wq[o,i]                                the same
//   without quantising dy
//
// y is written (=). The int32 product of a tile of y is made in the thread's part of the workspace, small enough to be
// still in its L2 when the dequantisation reads it back.
//
// oneDNN multiplies unsigned by signed bytes, and without VNNI instructions adds pairs of products in saturating int16:
// 127 * 127 comes out wrong. Whether this processor is affected is found out by asking for such a product once; if it
// is, our own kernel in int16 x int16 -> int32 takes over.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "llmc/cpu/device.h"
#include "llmc/cpu/gemm.h"
#include "llmc/cpu/onednn.h"

namespace cpu {

// c[M,N] = a[M,K] op(b), op(b) = b[K,N] or b[N,K]^T: the innermost product, by one thread.
using Int8Product = void (*)(Matrix<int32_t> c, Matrix<const int8_t> a, Matrix<const int8_t> b, bool transpose_b);

inline void onednn_int8_product(Matrix<int32_t> c, Matrix<const int8_t> a, Matrix<const int8_t> b, bool transpose_b) {
    const int32_t no_offset = 0;
    check_onednn(dnnl_gemm_s8s8s32('N', transpose_b ? 'T' : 'N', 'F', c.rows, c.cols, a.cols, 1.0f, a.data, a.stride, 0,
                                   b.data, b.stride, 0, 0.0f, c.data, c.stride, &no_offset),
                 "dnnl_gemm_s8s8s32", c.rows, c.cols, a.cols);
}

inline void widening_int8_product(Matrix<int32_t> c, Matrix<const int8_t> a, Matrix<const int8_t> b, bool transpose_b) {
    for (int64_t m = 0; m < c.rows; m++) {
        for (int64_t n = 0; n < c.cols; n++) {
            int32_t sum = 0;
            for (int64_t k = 0; k < a.cols; k++) sum += int32_t{a(m, k)} * int32_t{transpose_b ? b(n, k) : b(k, n)};
            c(m, n) = sum;
        }
    }
}

// Both signs, both layouts, at the magnitude where int16 saturates.
inline bool onednn_int8_is_exact() {
    constexpr int kSize = 64;
    std::array<int8_t, kSize * kSize> a, b;
    std::array<int32_t, kSize * kSize> c;
    for (const int8_t sign : {int8_t{1}, int8_t{-1}}) {
        a.fill(127);
        b.fill(static_cast<int8_t>(sign * 127));
        for (const bool transpose_b : {false, true}) {
            onednn_int8_product({c.data(), kSize, kSize}, {a.data(), kSize, kSize}, {b.data(), kSize, kSize},
                                transpose_b);
            if (std::any_of(c.begin(), c.end(), [&](int32_t v) { return v != sign * 127 * 127 * kSize; })) return false;
        }
    }
    return true;
}

inline Int8Product int8_product() {
    static const Int8Product chosen = onednn_int8_is_exact() ? onednn_int8_product : widening_int8_product;
    return chosen;
}

struct Int8Tile {
    static constexpr int64_t kRows = 256;
    static constexpr int64_t kCols = 256;
    static constexpr int64_t kElements = kRows * kCols;
};

inline int64_t int8_gemm_workspace(const Device& device) {
    return device.threads * Int8Tile::kElements;
}

// Shares the tiles of y out to the threads; store(y row, int32 row, row, first column, columns) dequantises one row of
// a tile.
template <class Store>
void int8_gemm_tiled(const Device& device, Matrix<float> y, Matrix<const int8_t> a, Matrix<const int8_t> b,
                     bool transpose_b, std::span<int32_t> workspace, Store store) {
    require(static_cast<int64_t>(workspace.size()) >= int8_gemm_workspace(device),
            "the int8 GEMM needs a workspace of ", int8_gemm_workspace(device), " elements and got ", workspace.size());
    const Int8Product product = int8_product();
#pragma omp parallel num_threads(device.threads)
    {
        const OneDnnThreads serial(1);
        int32_t* tile = workspace.data() + omp_get_thread_num() * Int8Tile::kElements;
#pragma omp for collapse(2) schedule(dynamic)
        for (int64_t col = 0; col < y.cols; col += Int8Tile::kCols) {
            for (int64_t row = 0; row < y.rows; row += Int8Tile::kRows) {
                const int64_t rows = std::min(Int8Tile::kRows, y.rows - row);
                const int64_t cols = std::min(Int8Tile::kCols, y.cols - col);
                const Matrix<int32_t> c(tile, rows, cols);
                product(c, a.rows_at(row, rows), transpose_b ? b.rows_at(col, cols) : b.columns(col, cols),
                        transpose_b);
                for (int64_t n = 0; n < rows; n++) store(y.row(row + n) + col, c.row(n), row + n, col, cols);
            }
        }
    }
}

inline void int8_gemm_nt(const Device& device, Matrix<float> y, Matrix<const int8_t> xq, const float* row_scale,
                         Matrix<const int8_t> wq, const float* col_scale, const float* bias,
                         std::span<int32_t> workspace) {
    int8_gemm_tiled(device, y, xq, wq, true, workspace,
                    [=](float* y_row, const int32_t* product, int64_t row, int64_t col, int64_t cols) {
                        const float scale = row_scale[row];
                        if (bias != nullptr) {
#pragma omp simd
                            for (int64_t o = 0; o < cols; o++) {
                                y_row[o] = scale * col_scale[col + o] * static_cast<float>(product[o]) + bias[col + o];
                            }
                        } else {
#pragma omp simd
                            for (int64_t o = 0; o < cols; o++) {
                                y_row[o] = scale * col_scale[col + o] * static_cast<float>(product[o]);
                            }
                        }
                    });
}

inline void int8_gemm_nn(const Device& device, Matrix<float> y, Matrix<const int8_t> gq, const float* row_scale,
                         Matrix<const int8_t> wq, std::span<int32_t> workspace) {
    int8_gemm_tiled(device, y, gq, wq, false, workspace,
                    [=](float* y_row, const int32_t* product, int64_t row, int64_t /*col*/, int64_t cols) {
                        const float scale = row_scale[row];
#pragma omp simd
                        for (int64_t i = 0; i < cols; i++) y_row[i] = scale * static_cast<float>(product[i]);
                    });
}

// Rows of W that are dequantised at a time: a contraction long enough for the GEMM's rate.
constexpr int64_t kDequantizedRows = 256;

inline int64_t dequantized_gemm_workspace(const Device& /*device*/, int64_t in_features) {
    return kDequantizedRows * in_features;
}

inline void dequantized_gemm_nn(const Device& device, Matrix<float> y, Matrix<const float> dy, Matrix<const int8_t> wq,
                                const float* col_scale, std::span<float> workspace) {
    require(static_cast<int64_t>(workspace.size()) >= dequantized_gemm_workspace(device, wq.cols),
            "the dequantised GEMM needs a workspace of ", dequantized_gemm_workspace(device, wq.cols),
            " elements and got ", workspace.size());
    for (int64_t begin = 0; begin < wq.rows; begin += kDequantizedRows) {
        const int64_t count = std::min(kDequantizedRows, wq.rows - begin);
        const Matrix<float> w(workspace.data(), count, wq.cols);
#pragma omp parallel for num_threads(device.threads) schedule(static)
        for (int64_t o = 0; o < count; o++) {
            const int8_t* wq_row = wq.row(begin + o);
            const float scale = col_scale[begin + o];
            float* w_row = w.row(o);
#pragma omp simd
            for (int64_t i = 0; i < wq.cols; i++) w_row[i] = scale * static_cast<float>(wq_row[i]);
        }
        gemm_nn(device, y, dy.columns(begin, count), w, 1.0f, begin == 0 ? 0.0f : 1.0f);
    }
}

}  // namespace cpu
