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
// With what the int8 linear above does to `out` (quantize.cuh), while the row is still in shared memory:
//
//   rmsnorm_forward_absmax      rmsnorm_forward; outlier_absmax
//   rmsnorm_forward_quantize    rmsnorm_forward; quantize_rows         once s is known
//
// r is rounded to T before it is used: rmsnorm_apply and backward see the r that forward saw. A block owns a row and
// holds it in shared memory (backward: dout and r), so that each tensor crosses memory once.
//
// The fused operators give the bits of the two calls. The same device functions work on blocks of the same shape,
// values are rounded to T in between as memory would round them, and fused multiply-adds are written as such, so that
// the compiler cannot choose differently.
#pragma once

#include "llmc/core/integers.h"
#include "llmc/cuda/kernel/norm_weight.cuh"
#include "llmc/cuda/quantize.cuh"

namespace cuda {

// out before it is rounded.
__device__ inline float rms_normalized(float r, float rstd, float weight) {
    return r * rstd * weight;
}

// One row of the forward pass. `held` ends as the row of `out`, its last Eight filled up with zeros.
template <class T>
__device__ void rmsnorm_row(T* held, T* out, T* residual, float* rstd, const T* x, const T* y, NormWeight<T> weight,
                            int channels, float eps) {
    float sum = 0;
    for (int c = first_column(); c < channels; c += column_step()) {
        Eight<T> r = load_eight(x, c, channels);
        if (y != nullptr) {
            const Eight<T> addend = load_eight(y, c, channels);
#pragma unroll
            for (int k = 0; k < 8; k++) r[k] = from_float<T>(to_float(r[k]) + to_float(addend[k]));
        }
        store_eight(residual, c, channels, r);
        held_eight(held, c) = r;
#pragma unroll
        for (int k = 0; k < 8; k++) sum = fmaf(to_float(r[k]), to_float(r[k]), sum);
    }
    const float scale = 1.0f / sqrtf(block_sum(sum) / static_cast<float>(channels) + eps);
    if (threadIdx.x == 0) *rstd = scale;
    for (int c = first_column(); c < channels; c += column_step()) {
        const Eight<float> w = load_eight(weight, c, channels);
        Eight<T>& row = held_eight(held, c);
#pragma unroll
        for (int k = 0; k < 8; k++) row[k] = from_float<T>(rms_normalized(to_float(row[k]), scale, w[k]));
        store_eight(out, c, channels, row);
    }
}

template <class T>
__global__ void rmsnorm_forward_kernel(Matrix<T> out, Matrix<T> residual, float* rstd, Matrix<const T> x,
                                       Matrix<const T> y, NormWeight<T> weight, float eps) {
    const int64_t n = blockIdx.x;
    rmsnorm_row(shared_memory<T>(), out.row(n), residual.row(n), rstd + n, x.row(n), y.data ? y.row(n) : nullptr,
                weight, static_cast<int>(x.cols), eps);
}

template <class T>
__global__ void rmsnorm_forward_absmax_kernel(Matrix<T> out, Matrix<T> residual, float* rstd, float* xmax,
                                              Matrix<const T> x, Matrix<const T> y, NormWeight<T> weight, float eps,
                                              const int32_t* channels, int count) {
    T* held = shared_memory<T>();
    const int64_t n = blockIdx.x;
    rmsnorm_row(held, out.row(n), residual.row(n), rstd + n, x.row(n), y.data ? y.row(n) : nullptr, weight,
                static_cast<int>(x.cols), eps);
    held_row_absmax(xmax, held, channels, count);
}

template <class T>
__global__ void rmsnorm_forward_quantize_kernel(Matrix<T> out, Matrix<T> residual, float* rstd, Matrix<int8_t> q,
                                                float* row_scale, Matrix<T> outliers, Matrix<const T> x,
                                                Matrix<const T> y, NormWeight<T> weight, float eps,
                                                RowTransform transform) {
    T* held = shared_memory<T>();
    const int64_t n = blockIdx.x;
    const int cols = static_cast<int>(x.cols), q_cols = static_cast<int>(q.stride);
    if (n >= x.rows) return zero_row(q.row(n), q_cols);
    rmsnorm_row(held, out.row(n), residual.row(n), rstd + n, x.row(n), y.data ? y.row(n) : nullptr, weight, cols, eps);
    held_row_quantize(q.row(n), q_cols, row_scale + n, outliers.row(n), static_cast<int>(outliers.cols), held, cols,
                      transform);
}

template <class T>
__global__ void rmsnorm_apply_kernel(Matrix<T> out, Matrix<const T> residual, const float* rstd, NormWeight<T> weight) {
    const auto [n, c] = eight_position(out.cols);
    if (n >= out.rows) return;
    Eight<T> row = load_eight(residual.row(n), c, out.cols);
    const Eight<float> w = load_eight(weight, c, out.cols);
    const float scale = rstd[n];
#pragma unroll
    for (int k = 0; k < 8; k++) row[k] = from_float<T>(rms_normalized(to_float(row[k]), scale, w[k]));
    store_eight(out.row(n), c, out.cols, row);
}

template <class T>
__global__ void rmsnorm_backward_kernel(Matrix<T> dresidual, Matrix<const T> dout, Matrix<const T> residual,
                                        const float* rstd, NormWeight<T> weight) {
    const int64_t n = blockIdx.x;
    const int channels = static_cast<int>(dresidual.cols);
    T* held_dout = shared_memory<T>();
    T* held_r = held_dout + round_up(channels, 8);
    float sum = 0;  // of g r
    for (int c = first_column(); c < channels; c += column_step()) {
        const Eight<T> d = load_eight(dout.row(n), c, channels), r = load_eight(residual.row(n), c, channels);
        const Eight<float> w = load_eight(weight, c, channels);
        held_eight(held_dout, c) = d;
        held_eight(held_r, c) = r;
#pragma unroll
        for (int k = 0; k < 8; k++) sum = fmaf(to_float(d[k]) * w[k], to_float(r[k]), sum);
    }
    const float scale = rstd[n];
    const float coefficient =
        block_sum(sum) * scale * scale / static_cast<float>(channels);  // h mean(g h) = r coefficient
    for (int c = first_column(); c < channels; c += column_step()) {
        const Eight<T> d = held_eight(held_dout, c), r = held_eight(held_r, c);
        const Eight<float> w = load_eight(weight, c, channels);
        Eight<T> dr = load_eight(dresidual.row(n), c, channels);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            const float change = to_float(d[k]) * w[k] - to_float(r[k]) * coefficient;
            dr[k] = from_float<T>(fmaf(scale, change, to_float(dr[k])));
        }
        store_eight(dresidual.row(n), c, channels, dr);
    }
}

template <class T>
void rmsnorm_forward(const Device<T>& device, Matrix<T> out, Matrix<T> residual, float* rstd, ConstMatrix<T> x,
                     ConstMatrix<T> y, NormWeight<std::type_identity_t<T>> weight, float eps) {
    launch(device, "rmsnorm_forward", rmsnorm_forward_kernel<T>, row_blocks(x.rows), row_threads(x.cols),
           held_bytes<T>(x.cols), out, residual, rstd, x, y, weight, eps);
}

// xmax [n] (=) of `out`.
template <class T>
void rmsnorm_forward_absmax(const Device<T>& device, Matrix<T> out, Matrix<T> residual, float* rstd, float* xmax,
                            ConstMatrix<T> x, ConstMatrix<T> y, NormWeight<std::type_identity_t<T>> weight, float eps,
                            std::span<const int32_t> channels) {
    clear_absmax(device, xmax, channels.size());
    launch(device, "rmsnorm_forward_absmax", rmsnorm_forward_absmax_kernel<T>, row_blocks(x.rows), row_threads(x.cols),
           held_bytes<T>(x.cols), out, residual, rstd, xmax, x, y, weight, eps, channels.data(),
           static_cast<int>(channels.size()));
}

// q, row_scale and outliers (=) of `out`.
template <class T>
void rmsnorm_forward_quantize(const Device<T>& device, Matrix<T> out, Matrix<T> residual, float* rstd, Matrix<int8_t> q,
                              float* row_scale, Matrix<T> outliers, ConstMatrix<T> x, ConstMatrix<T> y,
                              NormWeight<std::type_identity_t<T>> weight, float eps, const RowTransform& transform) {
    launch(device, "rmsnorm_forward_quantize", rmsnorm_forward_quantize_kernel<T>, row_blocks(q.rows),
           row_threads(x.cols), held_bytes<T>(x.cols), out, residual, rstd, q, row_scale, outliers, x, y, weight, eps,
           transform);
}

// `out` again from what the forward kept: the same bits.
template <class T>
void rmsnorm_apply(const Device<T>& device, Matrix<T> out, ConstMatrix<T> residual, const float* rstd,
                   NormWeight<std::type_identity_t<T>> weight) {
    launch(device, "rmsnorm_apply", rmsnorm_apply_kernel<T>, eight_blocks(out.rows, out.cols), kEightThreads, 0, out,
           residual, rstd, weight);
}

template <class T>
void rmsnorm_backward(const Device<T>& device, Matrix<T> dresidual, ConstMatrix<T> dout, ConstMatrix<T> residual,
                      const float* rstd, NormWeight<std::type_identity_t<T>> weight) {
    launch(device, "rmsnorm_backward", rmsnorm_backward_kernel<T>, row_blocks(dresidual.rows),
           row_threads(dresidual.cols), 2 * held_bytes<T>(dresidual.cols), dresidual, dout, residual, rstd, weight);
}

}  // namespace cuda
