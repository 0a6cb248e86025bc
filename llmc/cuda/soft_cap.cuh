// Soft caps: values x, attention scores or logits, are bent smoothly to stay within -cap .. cap.
//
//   y     = cap tanh(x / cap)
//   dy/dx = 1 - (y / cap)^2
//
// soft_cap writes y in place of x; a cap of 0 is none. Attention and the loss cap by themselves, with their gradients
// (attention.cuh, cross_entropy.cuh). Gemma 2, arXiv 2408.00118. One Eight per thread.
#pragma once

#include "llmc/core/operator_options.h"
#include "llmc/cuda/kernel/row_block.cuh"
#include "llmc/cuda/kernel/soft_cap.cuh"

namespace cuda {

template <class T>
__global__ void soft_cap_kernel(Matrix<T> x, float cap) {
    const auto [n, c] = eight_position(x.cols);
    if (n >= x.rows) return;
    const SoftCap capped(cap);
    Eight<T> eight = load_eight(x.row(n), c, x.cols);
#pragma unroll
    for (int k = 0; k < 8; k++) eight[k] = from_float<T>(capped(to_float(eight[k])));
    store_eight(x.row(n), c, x.cols, eight);
}

template <class T>
void soft_cap(const Device<T>& device, Matrix<T> x, float cap) {
    require_soft_cap(cap);
    if (cap == 0) return;
    launch(device, "soft_cap", soft_cap_kernel<T>, eight_blocks(x.rows, x.cols), kEightThreads, 0, x, cap);
}

}  // namespace cuda
