// GEMMs of int8 matrices, dequantised on the way out; the integer sums are exact (int8_product.h).
//
//   forward:                int8_gemm_nt          y[n,o] = row_scale[n] col_scale[o] sum_i xq[n,i] wq[o,i] + bias[o]
//                                                          + sum_k z[n,k] wz[o,k]
//   gradient of the input:  int8_gemm_nn          y = (row_scale[n] sum_o gq[n,o] wq[o,i]) H
//   the same, dy as it is:  dequantized_gemm_nn   y = (sum_o dy[n,o] col_scale[o] wq[o,i]) H
//
// H undoes the rotation of wq (llmc/core/hadamard.h); `rotation` is the side of its blocks, 0: there is none.
//
// y is written (=); bias may be null. z and wz may have no columns ({}). Their product is a GEMM of its own, which adds
// to y; where products are bf16, the AVX-512 kernel adds it in registers. (In fp32 that took as long as a separate
// GEMM, and longer with AVX2.) The integer product of all of y never exists at once (int8_ways.h).
#pragma once

#include <cstdint>
#include <span>

#include "llmc/cpu/device.h"

namespace cpu {

// The rows and columns that operands are planned with: unchanged here; other devices round up to what their GEMMs take.
inline int64_t padded_tokens(const Device& /*device*/, int64_t tokens) {
    return tokens;
}
inline int64_t padded_features(const Device& /*device*/, int64_t features) {
    return features;
}

// Elements of the workspaces below.
int64_t int8_gemm_workspace(const Device& device);
inline int64_t int8_gemm_nn_workspace(const Device& device, int64_t /*out_features*/, int64_t /*in_features*/) {
    return int8_gemm_workspace(device);
}
int64_t dequantized_gemm_workspace(const Device& device, int64_t out_features, int64_t in_features);

void int8_gemm_nt(const Device& device, Matrix<float> y, Matrix<const int8_t> xq, const float* row_scale,
                  Matrix<const int8_t> wq, const float* col_scale, const float* bias, Matrix<const float> z,
                  Matrix<const float> wz, std::span<int32_t> workspace);

void int8_gemm_nn(const Device& device, Matrix<float> y, Matrix<const int8_t> gq, const float* row_scale,
                  Matrix<const int8_t> wq, int64_t rotation, std::span<int32_t> workspace);

void dequantized_gemm_nn(const Device& device, Matrix<float> y, Matrix<const float> dy, Matrix<const int8_t> wq,
                         const float* col_scale, int64_t rotation, std::span<float> workspace);

}  // namespace cpu
