// Matrices that keep the 16 bits of their file and are widened, exactly, where they are used: a table of embeddings
// takes half the memory, and a generated token reads half as much.
//
//   half_embedding_forward   out[n,:] = table[ids[n],:]
//   half_gemm_nt             y[N,O]   = x[N,I] w[O,I]^T + beta y
//   half_gemm_nn             y[N,I]   = x[N,O] w[O,I]
//
// y is written (=), and not read if beta is 0. w is widened a block at a time (widened_gemm.h). If the device's
// products are bf16, BF16 weights are multiplied as stored, and F16 ones are rounded after all. One or two rows of y =
// x w^T, as in generation, are sums of floats in either case (two are not if BF16 weights are multiplied as stored):
// reading w takes as long as they do.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "llmc/core/dtype.h"
#include "llmc/core/integers.h"
#include "llmc/cpu/device.h"
#include "llmc/cpu/embedding.h"
#include "llmc/cpu/gemm/gemm.h"
#include "llmc/cpu/gemm/widened_gemm.h"

namespace cpu {

struct HalfMatrix {
    DType dtype = DType::bf16;  // or f16
    Matrix<uint16_t> bits;

    int64_t rows() const { return bits.rows; }
    int64_t cols() const { return bits.cols; }
    // out = `count` elements of a row, from `col` on.
    void widen(int64_t row, int64_t col, float* out, int64_t count) const {
        to_float(dtype, reinterpret_cast<const std::byte*>(bits.row(row) + col), out, count);
    }
};

// Whether bf16_gemm.h takes the weights as they are.
inline bool multiplies_as_stored(const Device& device, DType dtype) {
    return device.products == Products::bf16 && dtype == DType::bf16;
}

// For weights of `dtype` [rows, cols].
inline int64_t half_gemm_workspace(const Device& device, DType dtype, int64_t rows, int64_t cols) {
    if (multiplies_as_stored(device, dtype)) return 0;
    return widened_gemm_workspace(device, rows, cols);
}

inline void half_embedding_forward(const Device& device, Matrix<float> out, const HalfMatrix& table,
                                   std::span<const int32_t> ids) {
    require_ids(ids, table.bits.rows);
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t n = 0; n < out.rows; n++) table.widen(ids[n], 0, out.row(n), out.cols);
}

// y = x w^T + beta y for R rows; each element of w is widened in a register, once for all rows.
template <int R, float (*kWiden)(uint16_t)>
void half_gemm_nt_few(const Device& device, Matrix<float> y, Matrix<const float> x, Matrix<const uint16_t> w,
                      float beta) {
    static_assert(R == 1 || R == 2);
    const float *first = x.row(0), *second = x.row(R - 1);
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t o = 0; o < y.cols; o++) {
        const uint16_t* row = w.row(o);
        float sum = 0, other = 0;
#pragma omp simd reduction(+ : sum, other)
        for (int64_t i = 0; i < x.cols; i++) {
            const float weight = kWiden(row[i]);
            sum += first[i] * weight;
            if (R == 2) other += second[i] * weight;
        }
        const float sums[2] = {sum, other};
        for (int m = 0; m < R; m++) y(m, o) = beta == 0 ? sums[m] : std::fma(beta, y(m, o), sums[m]);
    }
}

// y = x op(w) + beta y, where op transposes for 'T'.
inline void half_gemm(const Device& device, char transpose_w, Matrix<float> y, Matrix<const float> x,
                      const HalfMatrix& w, float beta, std::span<float> workspace) {
    if (multiplies_as_stored(device, w.dtype))
        return bf16_gemm(device, 'N', transpose_w, y, x, Matrix<const uint16_t>(w.bits), x.cols, 1, beta);
    widened_gemm(device, transpose_w, y, x, w, beta, workspace);
}

inline void half_gemm_nt(const Device& device, Matrix<float> y, Matrix<const float> x, const HalfMatrix& w, float beta,
                         std::span<float> workspace) {
    const bool is_bf16 = w.dtype == DType::bf16;
    if (x.rows == 1) {
        const auto few = is_bf16 ? half_gemm_nt_few<1, bf16_to_float> : half_gemm_nt_few<1, f16_to_float>;
        return few(device, y, x, w.bits, beta);
    }
    if (x.rows == 2 && !multiplies_as_stored(device, w.dtype)) {
        const auto few = is_bf16 ? half_gemm_nt_few<2, bf16_to_float> : half_gemm_nt_few<2, f16_to_float>;
        return few(device, y, x, w.bits, beta);
    }
    half_gemm(device, 'T', y, x, w, beta, workspace);
}

inline void half_gemm_nn(const Device& device, Matrix<float> y, Matrix<const float> x, const HalfMatrix& w,
                         std::span<float> workspace) {
    half_gemm(device, 'N', y, x, w, 0, workspace);
}

}  // namespace cpu
