// RMSNorm of every head of the queries, or of the keys, in place.
//
//   kept[n,h,d] = x[n,h,d]
//   rstd[n,h]   = 1 / sqrt(mean_d x[n,h,d]^2 + eps)
//   x[n,h,d]    = x[n,h,d] rstd[n,h] weight[d]
//
// backward, in place, with g = dx weight and y = kept rstd:
//   dx[n,h,d]   = rstd[n,h] (g[n,h,d] - y[n,h,d] mean_d(g y))
//
// n: packed tokens; h: heads, the columns of rstd; d: channels of a head. x and kept are [N, heads * channels], usually
// columns of wider buffers. `kept` and `rstd` are written (=). All heads share the weight (NormWeight in
// llmc/core/operator_options.h), which is frozen and gets no gradient. Zhang and Sennrich 2019, arXiv 1910.07467; Henry
// et al. 2020, arXiv 2010.04245.
#pragma once

#include <cmath>

#include "llmc/core/operator_options.h"
#include "llmc/cpu/device.h"

namespace cpu {

template <class T>
void head_norm_forward(const Device& device, Matrix<T> x, Matrix<T> kept, Matrix<std::type_identity_t<T>> rstd,
                       NormWeight<std::type_identity_t<T>> weight, float eps) {
    const int64_t head_dim = x.cols / rstd.cols;
#pragma omp parallel for num_threads(device.threads) schedule(static) firstprivate(weight)
    for (int64_t n = 0; n < x.rows; n++) {
        for (int64_t h = 0; h < rstd.cols; h++) {
            T* head = x.row(n) + h * head_dim;
            T* copy = kept.row(n) + h * head_dim;
            T sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t d = 0; d < head_dim; d++) {
                copy[d] = head[d];
                sum += head[d] * head[d];
            }
            const T scale = 1 / std::sqrt(sum / static_cast<T>(head_dim) + static_cast<T>(eps));
            rstd(n, h) = scale;
#pragma omp simd
            for (int64_t d = 0; d < head_dim; d++) head[d] = copy[d] * scale * weight[d];
        }
    }
}

template <class T>
void head_norm_backward(const Device& device, Matrix<T> dx, ConstMatrix<T> kept, ConstMatrix<T> rstd,
                        NormWeight<std::type_identity_t<T>> weight) {
    const int64_t head_dim = dx.cols / rstd.cols;
#pragma omp parallel for num_threads(device.threads) schedule(static) firstprivate(weight)
    for (int64_t n = 0; n < dx.rows; n++) {
        for (int64_t h = 0; h < rstd.cols; h++) {
            T* gradient = dx.row(n) + h * head_dim;
            const T* head = kept.row(n) + h * head_dim;
            const T scale = rstd(n, h);
            T sum = 0;  // of g kept
#pragma omp simd reduction(+ : sum)
            for (int64_t d = 0; d < head_dim; d++) sum += gradient[d] * weight[d] * head[d];
            const T coefficient = sum * scale * scale / static_cast<T>(head_dim);  // y mean(g y) = kept coefficient
#pragma omp simd
            for (int64_t d = 0; d < head_dim; d++)
                gradient[d] = scale * (gradient[d] * weight[d] - head[d] * coefficient);
        }
    }
}

}  // namespace cpu
