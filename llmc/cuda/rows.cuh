// Rows set to something known, or scaled.
//
//   y[n,o] = bias[o]            fill_rows
//   dst[n,c] = src[n,c]         copy; rounded to nearest where dst's type is narrower than src's
//   y[n,c] = 0                  set_zero
//   y[n,c] = y[n,c] / d[c]      divide_columns
//
// `=`: everything is written. A thread writes an Eight. T need not be the device's compute type.
#pragma once

#include <type_traits>

#include "llmc/cuda/kernel/row_block.cuh"

namespace cuda {

template <class T>
__global__ void fill_rows_kernel(Matrix<T> y, const T* bias) {
    const auto [n, c] = eight_position(y.cols);
    if (n < y.rows) store_eight(y.row(n), c, y.cols, load_eight(bias, c, y.cols));
}

template <class T, class S>
__global__ void copy_kernel(Matrix<T> dst, Matrix<const S> src) {
    const auto [n, c] = eight_position(dst.cols);
    if (n >= dst.rows) return;
    const Eight<S> from = load_eight(src.row(n), c, dst.cols);
    if constexpr (std::is_same_v<T, S>) {
        store_eight(dst.row(n), c, dst.cols, from);
    } else {
        Eight<T> to;
#pragma unroll
        for (int k = 0; k < 8; k++) to[k] = from_float<T>(to_float(from[k]));
        store_eight(dst.row(n), c, dst.cols, to);
    }
}

template <class T>
__global__ void set_zero_kernel(Matrix<T> y) {
    const auto [n, c] = eight_position(y.cols);
    if (n < y.rows) store_eight(y.row(n), c, y.cols, Eight<T>{});
}

template <class T>
__global__ void divide_columns_kernel(Matrix<T> y, const float* divisor) {
    const auto [n, c] = eight_position(y.cols);
    if (n >= y.rows) return;
    Eight<T> eight = load_eight(y.row(n), c, y.cols);
    const Eight<float> by = load_eight(divisor, c, y.cols, 1.0f);
#pragma unroll
    for (int k = 0; k < 8; k++) eight[k] = from_float<T>(to_float(eight[k]) / by[k]);
    store_eight(y.row(n), c, y.cols, eight);
}

// y [N,O] = bias [O] in every row.
template <class T, class D>
void fill_rows(const Device<D>& device, Matrix<T> y, const std::type_identity_t<T>* bias) {
    launch(device, "fill_rows", fill_rows_kernel<T>, eight_blocks(y.rows, y.cols), kEightThreads, 0, y, bias);
}

// dst [N,C] = src [N,C]; either may be strided.
template <class T, class D, class S>
void copy(const Device<D>& device, Matrix<T> dst, Matrix<S> src) {
    launch(device, "copy", copy_kernel<T, std::remove_const_t<S>>, eight_blocks(dst.rows, dst.cols), kEightThreads, 0,
           dst, src);
}

// y [N,C] = 0.
template <class T, class D>
void set_zero(const Device<D>& device, Matrix<T> y) {
    launch(device, "set_zero", set_zero_kernel<T>, eight_blocks(y.rows, y.cols), kEightThreads, 0, y);
}

// y [N,C] = y diag(1/divisor [C]).
template <class T, class D>
void divide_columns(const Device<D>& device, Matrix<T> y, const float* divisor) {
    launch(device, "divide_columns", divide_columns_kernel<T>, eight_blocks(y.rows, y.cols), kEightThreads, 0, y,
           divisor);
}

}  // namespace cuda
