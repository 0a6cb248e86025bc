// Rows set to something known, or scaled.
//
//   y[n,o] = bias[o]            fill_rows
//   dst[n,c] = src[n,c]         copy
//   y[n,c] = 0                  set_zero
//   y[n,c] = y[n,c] / d[c]      divide_columns
//
// `=`: everything is written.
#pragma once

#include <algorithm>

#include "llmc/cpu/device.h"

namespace cpu {

// y [N,O] = bias [O] in every row.
template <class T>
void fill_rows(const Device& device, Matrix<T> y, const T* bias) {
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < y.rows; n++) std::copy(bias, bias + y.cols, y.row(n));
}

// dst [N,C] = src [N,C]; either may be strided.
template <class T>
void copy(const Device& device, Matrix<T> dst, ConstMatrix<T> src) {
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < dst.rows; n++) std::copy(src.row(n), src.row(n) + dst.cols, dst.row(n));
}

// y [N,C] = 0.
template <class T>
void set_zero(const Device& device, Matrix<T> y) {
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < y.rows; n++) std::fill(y.row(n), y.row(n) + y.cols, T(0));
}

// y [N,C] = y diag(1/divisor [C]).
template <class T>
void divide_columns(const Device& device, Matrix<T> y, const float* divisor) {
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t n = 0; n < y.rows; n++) {
        T* row = y.row(n);
#pragma omp simd
        for (int64_t c = 0; c < y.cols; c++) row[c] /= divisor[c];
    }
}

}  // namespace cpu
