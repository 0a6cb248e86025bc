// The Euclidean norm of a flat buffer, for gradient clipping. Always 256 partial sums in double over the same elements,
// added in the same order: the same bits for any number of threads.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>

#include "llmc/cpu/device.h"

namespace cpu {

template <class T>
double global_norm(const Device& device, std::span<T> x) {
    constexpr int64_t kBlocks = 256;
    const int64_t count = static_cast<int64_t>(x.size());
    const int64_t block = (count + kBlocks - 1) / kBlocks;
    std::array<double, kBlocks> partial{};
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t b = 0; b < kBlocks; b++) {
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = std::min(b * block, count); i < std::min((b + 1) * block, count); i++) {
            const double value = static_cast<double>(x[i]);
            sum += value * value;
        }
        partial[b] = sum;
    }
    double total = 0;
    for (double sum : partial) total += sum;
    return std::sqrt(total);
}

}  // namespace cpu
