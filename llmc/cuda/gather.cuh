// Rows picked from, and put back into, a longer matrix: only labelled positions go through the head.
//
//   gather_rows    out[i,:] = x[rows[i],:]
//   scatter_rows   out[rows[i],:] = x[i,:], every other row of out = 0;  rows ascending and distinct
//
// `rows` lies in device memory. gather: one Eight per thread. scatter: one row of out per block, which
// looks it up in `rows` by binary search, so that no row is written twice.
#pragma once

#include <span>

#include "llmc/cuda/kernel/row_block.cuh"

namespace cuda {

template <class T>
__global__ void gather_rows_kernel(Matrix<T> out, Matrix<const T> x, const int32_t* rows, int64_t count) {
    const auto [i, c] = eight_position(out.cols);
    if (i < count) store_eight(out.row(i), c, out.cols, load_eight(x.row(rows[i]), c, out.cols));
}

template <class T>
__global__ void scatter_rows_kernel(Matrix<T> out, Matrix<const T> x, const int32_t* rows, int count) {
    const int32_t n = static_cast<int32_t>(blockIdx.x);
    int begin = 0;  // the first of `rows` that is not below n
    for (int end = count; begin < end;) {
        const int middle = (begin + end) / 2;
        if (rows[middle] < n) {
            begin = middle + 1;
        } else {
            end = middle;
        }
    }
    const bool named = begin < count && rows[begin] == n;
    for (int c = first_column(); c < out.cols; c += column_step())
        store_eight(out.row(n), c, out.cols, named ? load_eight(x.row(begin), c, out.cols) : Eight<T>{});
}

template <class T, class D>
void gather_rows(const Device<D>& device, Matrix<T> out, ConstMatrix<T> x, std::span<const int32_t> rows) {
    const int64_t count = static_cast<int64_t>(rows.size());
    launch(device, "gather_rows", gather_rows_kernel<T>, eight_blocks(count, out.cols), kEightThreads, 0, out, x,
           rows.data(), count);
}

template <class T, class D>
void scatter_rows(const Device<D>& device, Matrix<T> out, ConstMatrix<T> x, std::span<const int32_t> rows) {
    launch(device, "scatter_rows", scatter_rows_kernel<T>, row_blocks(out.rows), row_threads(out.cols), 0, out, x,
           rows.data(), static_cast<int>(rows.size()));
}

}  // namespace cuda
