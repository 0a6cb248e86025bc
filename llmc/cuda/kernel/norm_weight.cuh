// The weights of norms, as kernels read them.
#pragma once

#include "llmc/core/operator_options.h"
#include "llmc/cuda/kernel/row_block.cuh"

namespace cuda {

// w[c] + addend of channels c .. c+7.
template <class T>
__device__ Eight<float> load_eight(const NormWeight<T>& weight, int64_t c, int64_t channels) {
    const Eight<T> w = load_eight(weight.w, c, channels);
    Eight<float> sum;
#pragma unroll
    for (int k = 0; k < 8; k++) sum[k] = to_float(w[k]) + weight.addend;
    return sum;
}

}  // namespace cuda
