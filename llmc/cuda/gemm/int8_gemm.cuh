// GEMMs of int8 matrices, dequantised on the way out; the integer sums are exact.
//
//   forward:                int8_gemm_nt          y[n,o] = row_scale[n] col_scale[o] sum_i xq[n,i] wq[o,i] + bias[o]
//                                                          + sum_k z[n,k] wz[o,k]
//   gradient of the input:  int8_gemm_nn          y = (row_scale[n] sum_o gq[n,o] wq[o,i]) H
//   the same, dy as it is:  dequantized_gemm_nn   y = (sum_o dy[n,o] col_scale[o] wq[o,i]) H
//
// H undoes the rotation of wq (llmc/core/hadamard.h); `rotation` is the side of its blocks, 0: there is none.
//
// y is written (=); bias may be null. z and wz may have no columns ({}); their product is added while y is dequantised.
// On Hopper all of it is one kernel (int8_gemm_hopper.cuh), unless the number of columns of z is not a multiple of 8.
// Elsewhere cuBLASLt multiplies the integers, and dequantize_joint.cuh does the rest.
//
// cuBLASLt's int8 product has three limits. It multiplies rows by rows only (its A transposed, its B not), so the
// forward pass takes Wq as it lies and the backward pass transposes it into scratch just before use. Its result is
// int32 only: y is cut into tiles whose sums still lie in L2 when the dequantisation reads them. And sizes must be
// multiples of 16, on some GPUs with at least 32 rows, so operands are padded:
//
//   xq [N,I], gq [N,O]   padded_tokens(N) rows; what the rows beyond N hold does not matter
//   wq [O,I]             padded_features(O) rows, likewise; zeros from column I to padded_features(I), as
//                        quantize_weight writes them
//   all three            a stride that is a multiple of 16 and no less than padded_features(columns), at an address
//                        that is a multiple of 16
//
// The `rows` of an operand are those that may be read, so that all but the zeros is checked here; the rows of y are
// those that are meant.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <type_traits>

#include "llmc/core/integers.h"
#include "llmc/cuda/gemm/dequantize_joint.cuh"
#include "llmc/cuda/gemm/gemm.cuh"
#include "llmc/cuda/gemm/int8_gemm_hopper.cuh"
#include "llmc/cuda/gemm/transpose.cuh"
#include "llmc/cuda/quantize.cuh"

namespace cuda {

// The rows that a matrix of `tokens` is planned with, and its stride for `features`.
template <class T>
int64_t padded_tokens(const Device<T>& /*device*/, int64_t tokens) {
    return round_up(tokens, 32);
}
template <class T>
int64_t padded_features(const Device<T>& /*device*/, int64_t features) {
    return round_up(features, 16);
}

// How y is cut: into tiles of at most `elements` int32, no wider than high, because each reads its rows of both
// operands anew, and with all rows if they fit. Cuts fall on multiples of 128, the tile of the library's thread blocks.
struct Int8Tiling {
    static constexpr int64_t kSmallest = 128 * 128;
    int64_t rows, cols;  // of a tile

    Int8Tiling(int64_t elements, int64_t y_rows, int64_t y_cols) {
        const int64_t all_rows = round_up(y_rows, 32), all_cols = round_up(y_cols, 16);
        int64_t across = 1;
        do {
            cols = std::min(all_cols, round_up(ceil_div(y_cols, across), 128));
            rows = elements / cols;
            rows -= rows % (rows < 128 ? 32 : 128);
            across++;
        } while (rows < std::min(all_rows, cols));
        const int64_t down = ceil_div(all_rows, rows);
        rows = std::min(all_rows, round_up(ceil_div(all_rows, down), 128));
    }
};

// Half of L2: the other half is for the operands that stream through it meanwhile.
template <class T>
int64_t int8_gemm_workspace(const Device<T>& device) {
    const int64_t half = device.l2_bytes / 2 / static_cast<int64_t>(sizeof(int32_t));
    return std::max(Int8Tiling::kSmallest, half / 64 * 64);
}

// The same and Wq^T.
template <class T>
int64_t int8_gemm_nn_workspace(const Device<T>& device, int64_t out_features, int64_t in_features) {
    const int64_t transposed = padded_features(device, in_features) * padded_features(device, out_features);
    return int8_gemm_workspace(device) + transposed / static_cast<int64_t>(sizeof(int32_t));
}

inline void require_padded(const char* name, Matrix<const int8_t> operand, int64_t rows, int64_t features) {
    require(operand.rows >= rows && operand.stride >= features && operand.stride % 16 == 0 &&
                reinterpret_cast<uintptr_t>(operand.data) % 16 == 0,
            "the int8 GEMM needs ", name, " padded to ", rows, " rows of ", features,
            " elements, at multiples of 16 bytes, and got ", operand.rows, " rows at a distance of ", operand.stride);
}

inline void require_workspace(int64_t needed, size_t got) {
    require(static_cast<int64_t>(got) >= needed, "the int8 GEMM needs a workspace of ", needed, " elements and got ",
            got);
}

// y = dequantised a b^T, both padded, summed over `features` columns, + z wz^T, or rotated: by cuBLASLt.
template <class T>
void int8_gemm_cublaslt(const Device<T>& device, Matrix<T> y, Matrix<const int8_t> a, const float* row_scale,
                        Matrix<const int8_t> b, const float* col_scale, const T* bias, ConstMatrix<T> z,
                        ConstMatrix<T> wz, int64_t features, int64_t rotation, std::span<int32_t> workspace) {
    const Int8Tiling tiling(int8_gemm_workspace(device), y.rows, y.cols);
    for (int64_t col = 0; col < y.cols; col += tiling.cols) {
        for (int64_t row = 0; row < y.rows; row += tiling.rows) {
            const Matrix<T> tile =
                y.rows_at(row, std::min(tiling.rows, y.rows - row)).columns(col, std::min(tiling.cols, y.cols - col));
            const Matrix<int32_t> sums(workspace.data(), padded_tokens(device, tile.rows),
                                       padded_features(device, tile.cols));
            const Matrix<const int8_t> a_rows = a.rows_at(row, sums.rows), b_rows = b.rows_at(col, sums.cols);
            device.blas->multiply(device.stream, blas_product(false, true, sums, a_rows, b_rows, features), 1,
                                  b_rows.data, a_rows.data, 0, sums.data);
            dequantize_joint(device, tile, sums, row_scale + row, col_scale ? col_scale + col : nullptr,
                             bias ? bias + col : nullptr, z.rows_at(row, tile.rows), wz.rows_at(col, tile.cols),
                             rotation);
        }
    }
}

// The same by whatever is fastest on this GPU.
template <class T>
void int8_gemm(const Device<T>& device, Matrix<T> y, Matrix<const int8_t> a, const float* row_scale,
               Matrix<const int8_t> b, const float* col_scale, const T* bias, ConstMatrix<T> z, ConstMatrix<T> wz,
               int64_t features, int64_t rotation, std::span<int32_t> workspace) {
    if (features > 0 && int8_gemm_hopper_takes(device, z, wz))
        int8_gemm_hopper(device, y, a, row_scale, b, col_scale, bias, features, z, wz, rotation);
    else
        int8_gemm_cublaslt(device, y, a, row_scale, b, col_scale, bias, z, wz, features, rotation, workspace);
}

template <class T>
void int8_gemm_nt(const Device<T>& device, Matrix<T> y, Matrix<const int8_t> xq, const float* row_scale,
                  Matrix<const int8_t> wq, const float* col_scale, const std::type_identity_t<T>* bias,
                  ConstMatrix<T> z, ConstMatrix<T> wz, std::span<int32_t> workspace) {
    if (y.empty()) return;
    const int64_t features = padded_features(device, xq.cols);
    require_padded("xq", xq, padded_tokens(device, y.rows), features);
    require_padded("wq", wq, padded_features(device, y.cols), features);
    require(z.cols == wz.cols && (z.cols == 0 || (z.rows >= y.rows && wz.rows >= y.cols)), "the int8 GEMM adds z [",
            y.rows, ",K] by wz [", y.cols, ",K], and got [", z.rows, ",", z.cols, "] by [", wz.rows, ",", wz.cols, "]");
    require_workspace(int8_gemm_workspace(device), workspace.size());
    int8_gemm(device, y, xq, row_scale, wq, col_scale, bias, z, wz, features, 0, workspace);
}

template <class T>
void int8_gemm_nn(const Device<T>& device, Matrix<T> y, Matrix<const int8_t> gq, const float* row_scale,
                  Matrix<const int8_t> wq, int64_t rotation, std::span<int32_t> workspace) {
    if (y.empty()) return;
    const int64_t features = padded_features(device, gq.cols);
    require_padded("gq", gq, padded_tokens(device, y.rows), features);
    require_padded("wq", wq, gq.cols, padded_features(device, y.cols));
    require_workspace(int8_gemm_nn_workspace(device, gq.cols, y.cols), workspace.size());
    const Matrix<int8_t> transposed(reinterpret_cast<int8_t*>(workspace.data() + int8_gemm_workspace(device)),
                                    padded_features(device, y.cols), features);
    transpose_int8(device, transposed, wq.first_rows(gq.cols));
    int8_gemm<T>(device, y, gq, row_scale, transposed, nullptr, nullptr, {}, {}, features, rotation, workspace);
}

// Columns of W that are dequantised at a time. The sum over O stays whole: its parts would be rounded to T.
constexpr int64_t kDequantizedColumns = 1024;

template <class T>
int64_t dequantized_gemm_workspace(const Device<T>& device, int64_t out_features, int64_t in_features) {
    return out_features * std::min(kDequantizedColumns, padded_features(device, in_features));
}

// w = (scale[o] wq[o,i]) H; one Eight per thread.
template <class T>
__global__ void dequantize_weight_kernel(Matrix<T> w, Matrix<const int8_t> wq, const float* scale, int rotation) {
    const auto [o, i] = eight_position(w.cols);
    const bool exists = o < w.rows;
    Eight<float> values{};
    if (exists) {
        const Eight<int8_t> integers = load_eight(wq.row(o), i, w.cols);
#pragma unroll
        for (int k = 0; k < 8; k++) values[k] = scale[o] * static_cast<float>(integers[k]);
    }
    rotate_eight(values, rotation);
    if (exists) store_eight(w.row(o), i, w.cols, rounded<T>(values));
}

template <class T>
void dequantized_gemm_nn(const Device<T>& device, Matrix<T> y, ConstMatrix<T> dy, Matrix<const int8_t> wq,
                         const float* col_scale, int64_t rotation, std::span<T> workspace) {
    require_workspace(dequantized_gemm_workspace(device, dy.cols, y.cols), workspace.size());
    const int64_t stride = std::min(kDequantizedColumns, padded_features(device, y.cols));
    for (int64_t begin = 0; begin < y.cols; begin += stride) {
        const Matrix<T> w(workspace.data(), dy.cols, std::min(stride, y.cols - begin), stride);
        launch(device, "dequantize_weight", dequantize_weight_kernel<T>, eight_blocks(w.rows, w.cols), kEightThreads, 0,
               w, wq.columns(begin, w.cols), col_scale, static_cast<int>(rotation));
        gemm_nn<T>(device, y.columns(begin, w.cols), dy, w, 1, 0);
    }
}

}  // namespace cuda
