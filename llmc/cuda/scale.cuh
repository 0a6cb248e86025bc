// out[n,c] = factor x[n,c]. out may be x. One Eight per thread.
#pragma once

#include "llmc/cuda/kernel/row_block.cuh"

namespace cuda {

template <class T>
__global__ void scaled_copy_kernel(Matrix<T> out, Matrix<const T> x, float factor) {
    const auto [n, c] = eight_position(out.cols);
    if (n >= out.rows) return;
    Eight<T> values = load_eight(x.row(n), c, out.cols);
#pragma unroll
    for (int k = 0; k < 8; k++) values[k] = from_float<T>(factor * to_float(values[k]));
    store_eight(out.row(n), c, out.cols, values);
}

template <class T, class D>
void scale(const Device<D>& device, Matrix<T> out, ConstMatrix<T> x, float factor) {
    launch(device, "scaled_copy", scaled_copy_kernel<T>, eight_blocks(out.rows, out.cols), kEightThreads, 0, out, x,
           factor);
}

}  // namespace cuda
