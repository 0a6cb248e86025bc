// RMSNorm with the residual addition in front of it.
//
//   r[n,c]   = x[n,c] + y[n,c]                        y may be null: r = x; r may be x (in place)
//   rstd[n]  = 1 / sqrt(mean_c r[n,c]^2 + eps)
//   out[n,c] = r[n,c] rstd[n] weight[c]
//
// backward, with g = dout weight and h = r rstd:
//   dr[n,c] += rstd[n] (g[n,c] - h[n,c] mean_c(g h))
//
// n: packed tokens; c: hidden_size. `out`, `r`, `rstd` are written (=), `dr` is accumulated (+=).
// weight[c] is w[c] + addend (NormWeight in llmc/core/operator_options.h), frozen: it gets no gradient. Zhang and
// Sennrich 2019, arXiv 1910.07467.
//
// With what the int8 linear above does to `out` (quantize.h):
//
//   rmsnorm_forward_absmax      rmsnorm_forward; outlier_absmax
//   rmsnorm_forward_quantize    rmsnorm_forward; quantize_rows
#pragma once

#include <cmath>

#include "llmc/cpu/quantize.h"

namespace cpu {

template <class T>
void rmsnorm_forward(const Device& device, Matrix<T> out, Matrix<T> residual, std::type_identity_t<T>* rstd,
                     ConstMatrix<T> x, ConstMatrix<T> y, NormWeight<std::type_identity_t<T>> weight, float eps) {
    const int64_t channels = x.cols;
#pragma omp parallel for num_threads(device.threads) schedule(static) firstprivate(weight)
    for (int64_t n = 0; n < x.rows; n++) {
        T* out_row = out.row(n);
        T* r = residual.row(n);
        const T* x_row = x.row(n);
        T sum = 0;
        if (y.data != nullptr) {
            const T* y_row = y.row(n);
#pragma omp simd reduction(+ : sum)
            for (int64_t c = 0; c < channels; c++) {
                r[c] = x_row[c] + y_row[c];
                sum += r[c] * r[c];
            }
        } else {
#pragma omp simd reduction(+ : sum)
            for (int64_t c = 0; c < channels; c++) {
                r[c] = x_row[c];
                sum += r[c] * r[c];
            }
        }
        const T scale = 1 / std::sqrt(sum / static_cast<T>(channels) + static_cast<T>(eps));
        rstd[n] = scale;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) out_row[c] = r[c] * scale * weight[c];
    }
}

inline void rmsnorm_forward_absmax(const Device& device, Matrix<float> out, Matrix<float> residual, float* rstd,
                                   float* xmax, Matrix<const float> x, Matrix<const float> y, NormWeight<float> weight,
                                   float eps, std::span<const int32_t> channels) {
    rmsnorm_forward<float>(device, out, residual, rstd, x, y, weight, eps);
    outlier_absmax(device, xmax, out, channels);
}

inline void rmsnorm_forward_quantize(const Device& device, Matrix<float> out, Matrix<float> residual, float* rstd,
                                     Matrix<int8_t> q, float* row_scale, Matrix<float> outliers, Matrix<const float> x,
                                     Matrix<const float> y, NormWeight<float> weight, float eps,
                                     const RowTransform& transform) {
    rmsnorm_forward<float>(device, out, residual, rstd, x, y, weight, eps);
    quantize_rows(device, q, row_scale, outliers, out, transform);
}

// `out` again from what the forward kept: the same bits.
template <class T>
void rmsnorm_apply(const Device& device, Matrix<T> out, ConstMatrix<T> residual, const std::type_identity_t<T>* rstd,
                   NormWeight<std::type_identity_t<T>> weight) {
#pragma omp parallel for num_threads(device.threads) schedule(static) firstprivate(weight)
    for (int64_t n = 0; n < out.rows; n++) {
        T* out_row = out.row(n);
        const T* r = residual.row(n);
        const T scale = rstd[n];
#pragma omp simd
        for (int64_t c = 0; c < out.cols; c++) out_row[c] = r[c] * scale * weight[c];
    }
}

template <class T>
void rmsnorm_backward(const Device& device, Matrix<T> dresidual, ConstMatrix<T> dout, ConstMatrix<T> residual,
                      const std::type_identity_t<T>* rstd, NormWeight<std::type_identity_t<T>> weight) {
    const int64_t channels = dresidual.cols;
#pragma omp parallel for num_threads(device.threads) schedule(static) firstprivate(weight)
    for (int64_t n = 0; n < dresidual.rows; n++) {
        T* dr = dresidual.row(n);
        const T* dout_row = dout.row(n);
        const T* r = residual.row(n);
        const T scale = rstd[n];
        T sum = 0;  // of g r
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < channels; c++) sum += dout_row[c] * weight[c] * r[c];
        const T coefficient = sum * scale * scale / static_cast<T>(channels);  // h mean(g h) = r coefficient
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) dr[c] += scale * (dout_row[c] * weight[c] - r[c] * coefficient);
    }
}

}  // namespace cpu
