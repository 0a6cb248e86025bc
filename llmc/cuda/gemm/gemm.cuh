// The three GEMMs of a linear layer y = x W^T, each y = alpha (product) + beta y; with beta = 0 the old y is not read.
//
//   gemm_nt   y[N,O] = x[N,I] w[O,I]^T        forward
//   gemm_nn   y[N,I] = x[N,O] w[O,I]          gradient of the input
//   gemm_tn   y[A,B] = a[N,A]^T b[N,B]        gradient of a weight, contracted over tokens
//
// Inputs are T (bf16, fp16 or float), y is T or float; sums are fp32, of float inputs in true fp32 and not TF32.
//
// A row-major matrix is the column-major transpose of itself, so that y = op(a) op(b) is y^T = op(b)^T op(a)^T to
// cuBLASLt: its A is b, its B is a, and each is transposed exactly if it is here. Any stride and address will do, but
// the fast algorithms need multiples of 16 bytes.
#pragma once

#include <cstdint>
#include <type_traits>

#include "llmc/core/integers.h"
#include "llmc/cuda/gemm/cublaslt.cuh"
#include "llmc/cuda/kernel/row_block.cuh"

namespace cuda {

// The length to which a sum over k terms is padded with zeros: the fast algorithms need rows that end at a multiple of
// 16 bytes, here in every type.
template <class T>
int64_t padded_contraction(const Device<T>& /*device*/, int64_t k) {
    return round_up(k, 8);
}

template <class T>
constexpr cudaDataType_t blas_type() {
    if constexpr (std::is_same_v<T, bf16>) return CUDA_R_16BF;
    if constexpr (std::is_same_v<T, fp16>) return CUDA_R_16F;
    if constexpr (std::is_same_v<T, float>) return CUDA_R_32F;
    if constexpr (std::is_same_v<T, int8_t>) return CUDA_R_8I;
    if constexpr (std::is_same_v<T, int32_t>) return CUDA_R_32I;
}

// y = op(a) op(b), summed over `contraction`, as cuBLASLt sees it.
template <class T, class Out>
Product blas_product(bool transpose_a, bool transpose_b, Matrix<Out> y, Matrix<const T> a, Matrix<const T> b,
                     int64_t contraction) {
    const auto alignment = [](const auto& matrix) {
        return alignment_of(matrix.data, matrix.stride * static_cast<int64_t>(sizeof(*matrix.data)));
    };
    return {.in = blas_type<T>(),
            .out = blas_type<Out>(),
            .transpose_a = transpose_b,
            .transpose_b = transpose_a,
            .m = y.cols,
            .n = y.rows,
            .k = contraction,
            .lda = b.stride,
            .ldb = a.stride,
            .ldd = y.stride,
            .alignment_a = alignment(b),
            .alignment_b = alignment(a),
            .alignment_d = alignment(y)};
}

template <class T>
__global__ void scale_kernel(Matrix<T> y, float factor) {
    const auto [n, c] = eight_position(y.cols);
    if (n >= y.rows) return;
    Eight<T> values{};
    if (factor != 0) values = load_eight(y.row(n), c, y.cols);
#pragma unroll
    for (int k = 0; k < 8; k++) values[k] = from_float<T>(factor * to_float(values[k]));
    store_eight(y.row(n), c, y.cols, values);
}

// y = factor y: a GEMM without terms.
template <class T, class Out>
void scale(const Device<T>& device, Matrix<Out> y, float factor) {
    if (factor == 1) return;
    launch(device, "scale", scale_kernel<Out>, eight_blocks(y.rows, y.cols), kEightThreads, 0, y, factor);
}

template <class T, class Out>
void gemm(const Device<T>& device, bool transpose_a, bool transpose_b, Matrix<Out> y, Matrix<const T> a,
          Matrix<const T> b, int64_t contraction, float alpha, float beta) {
    if (y.empty()) return;
    if (contraction == 0) {
        scale(device, y, beta);
        return;
    }
    device.blas->multiply(device.stream, blas_product(transpose_a, transpose_b, y, a, b, contraction), alpha, b.data,
                          a.data, beta, y.data);
}

template <class T, class Out>
void gemm_nt(const Device<T>& device, Matrix<Out> y, ConstMatrix<T> x, ConstMatrix<T> w, float alpha, float beta) {
    gemm<T>(device, false, true, y, x, w, x.cols, alpha, beta);
}

template <class T, class Out>
void gemm_nn(const Device<T>& device, Matrix<Out> y, ConstMatrix<T> x, ConstMatrix<T> w, float alpha, float beta) {
    gemm<T>(device, false, false, y, x, w, x.cols, alpha, beta);
}

template <class T, class Out>
void gemm_tn(const Device<T>& device, Matrix<Out> y, ConstMatrix<T> a, ConstMatrix<T> b, float alpha, float beta) {
    gemm<T>(device, true, false, y, a, b, a.rows, alpha, beta);
}

}  // namespace cuda
