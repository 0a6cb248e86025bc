// The Euclidean norm of a flat buffer, for gradient clipping.
//
// kNormBlocks partial sums in double over the same elements, added in the same order: the same bits for any number of
// threads. They lie in a workspace of global_norm_workspace() doubles that the caller planned, so that a step allocates
// nothing.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

#include "llmc/core/integers.h"
#include "llmc/cpu/device.h"

namespace cpu {

constexpr int64_t kNormBlocks = 256;

inline int64_t global_norm_workspace(const Device& /*device*/) {
    return kNormBlocks;
}

template <class T>
double global_norm(const Device& device, std::span<T> x, std::span<double> workspace) {
    require(static_cast<int64_t>(workspace.size()) >= kNormBlocks, "the norm needs a workspace of ", kNormBlocks,
            " elements and got ", workspace.size());
    const int64_t count = static_cast<int64_t>(x.size());
    const int64_t block = ceil_div(count, kNormBlocks);
    const std::span<double> partial = workspace.first(kNormBlocks);
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t b = 0; b < kNormBlocks; b++) {
        const T* values = x.data();
        const int64_t begin = std::min(b * block, count), end = std::min((b + 1) * block, count);
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = begin; i < end; i++) {
            const double value = static_cast<double>(values[i]);
            sum += value * value;
        }
        partial[b] = sum;
    }
    double total = 0;
    for (double sum : partial) total += sum;
    return std::sqrt(total);
}

}  // namespace cpu
