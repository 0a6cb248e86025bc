// out[n,c] += x[n,c]. One Eight per thread.
#pragma once

#include "llmc/cuda/kernel/row_block.cuh"

namespace cuda {

template <class T>
__global__ void add_kernel(Matrix<T> out, Matrix<const T> x) {
    const auto [n, c] = eight_position(out.cols);
    if (n >= out.rows) return;
    Eight<T> sum = load_eight(out.row(n), c, out.cols);
    const Eight<T> addend = load_eight(x.row(n), c, out.cols);
#pragma unroll
    for (int k = 0; k < 8; k++) sum[k] = from_float<T>(to_float(sum[k]) + to_float(addend[k]));
    store_eight(out.row(n), c, out.cols, sum);
}

template <class T, class D>
void add(const Device<D>& device, Matrix<T> out, ConstMatrix<T> x) {
    launch(device, "add", add_kernel<T>, eight_blocks(out.rows, out.cols), kEightThreads, 0, out, x);
}

}  // namespace cuda
