// The products with weights in four bits (llmc/core/nf4.h):
//
//   nf4_gemm_nt   y[N,O] = x[N,I] w[O,I]^T + beta y
//   nf4_gemm_nn   y[N,I] = x[N,O] w[O,I]
//
// All of w is dequantised to T, into the workspace, and multiplied: quantised linears are this slow where the GPU has
// no product of four bits. y is written (=) if beta is 0, and then not read.
#pragma once

#include <span>

#include "llmc/core/nf4.h"
#include "llmc/cuda/gemm/gemm.cuh"
#include "llmc/cuda/quantize.cuh"

namespace cuda {

// w = D(stored); one Eight per thread, which is one word of codes in one block.
template <class T>
__global__ void dequantize_nf4_kernel(Matrix<T> w, Nf4Matrix stored) {
    // In shared memory, where the lanes of a warp may each read another level at once.
    __shared__ float levels[16];
    if (threadIdx.x < 16) levels[threadIdx.x] = nf4_level(static_cast<int>(threadIdx.x));
    __syncthreads();
    const auto [o, i] = eight_position(w.cols);
    if (o >= w.rows) return;
    const uint32_t word = *reinterpret_cast<const uint32_t*>(stored.codes.row(o) + i / 2);
    const float maximum = stored.maximum(o, i);
    Eight<float> values;
#pragma unroll
    for (int k = 0; k < 8; k++) values[k] = maximum * levels[word >> 4 * k & 15u];
    store_eight(w.row(o), i, w.cols, rounded<T>(values));
}

// Rows of the dequantised matrix begin at multiples of 16 bytes.
inline int64_t nf4_stride(int64_t in_features) {
    return round_up(in_features, 8);
}

template <class T>
int64_t nf4_gemm_workspace(const Device<T>& /*device*/, int64_t out_features, int64_t in_features) {
    return out_features * nf4_stride(in_features);
}

template <class T>
Matrix<const T> dequantize_nf4(const Device<T>& device, const Nf4Matrix& stored, std::span<T> workspace) {
    const int64_t needed = nf4_gemm_workspace(device, stored.codes.rows, stored.cols);
    require(static_cast<int64_t>(workspace.size()) >= needed, "the product with NF4 weights needs a workspace of ",
            needed, " elements and got ", workspace.size());
    const Matrix<T> w(workspace.data(), stored.codes.rows, stored.cols, nf4_stride(stored.cols));
    launch(device, "dequantize_nf4", dequantize_nf4_kernel<T>, eight_blocks(w.rows, w.cols), kEightThreads, 0, w,
           stored);
    return w;
}

template <class T>
void nf4_gemm_nt(const Device<T>& device, Matrix<T> y, ConstMatrix<T> x, const Nf4Matrix& w, float beta,
                 std::span<T> workspace) {
    gemm_nt<T>(device, y, x, dequantize_nf4(device, w, workspace), 1, beta);
}

template <class T>
void nf4_gemm_nn(const Device<T>& device, Matrix<T> y, ConstMatrix<T> x, const Nf4Matrix& w, std::span<T> workspace) {
    gemm_nn<T>(device, y, x, dequantize_nf4(device, w, workspace), 1, 0);
}

}  // namespace cuda
