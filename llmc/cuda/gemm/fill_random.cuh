// Numbers to measure with: constant ones flatter a GPU that is held back by its power limit.
//
//   values[n,k] = scale u[n,k]     u uniform in [-1, 1) from Philox
//                                  int8: in [-127, 127]; longer integers: of 20 bits
//
// Written (=); the same seed gives the same numbers. A thread fills an Eight.
#pragma once

#include <type_traits>

#include "llmc/core/philox.h"
#include "llmc/cuda/kernel/row_block.cuh"

namespace cuda {

template <class T>
__global__ void fill_random_kernel(Matrix<T> values, uint32_t seed, float scale) {
    const auto [n, c] = eight_position(values.cols);
    if (n >= values.rows) return;
    for (int64_t k = c; k < c + 8 && k < values.cols; k++) {
        const PhiloxWords words = philox4x32_10(
            {static_cast<uint32_t>(k), static_cast<uint32_t>(n), static_cast<uint32_t>(k >> 32), 0}, {seed, 0});
        const int32_t word = static_cast<int32_t>(words.x0);
        if constexpr (std::is_integral_v<T>)
            values(n, k) = static_cast<T>(sizeof(T) == 1 ? word % 128 : word >> 12);
        else
            values(n, k) = from_float<T>(static_cast<float>(word) * 0x1p-31f * scale);
    }
}

template <class T, class D>
void fill_random(const Device<D>& device, Matrix<T> values, uint32_t seed, float scale = 1) {
    launch(device, "fill_random", fill_random_kernel<T>, eight_blocks(values.rows, values.cols), kEightThreads, 0,
           values, seed, scale);
}

}  // namespace cuda
