// How far int8 is from a row: sum over i of (v[i] - scale q[i])^2, with q and scale as cpu::quantize_row makes them.
#pragma once

#include <cmath>
#include <cstdint>

#include "llmc/cpu/quantize.h"

namespace quaff {

inline double rounding_noise(const float* v, int64_t n) {
    const float scale = cpu::row_scale_of(v, n);
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        const float error = v[i] - scale * std::rint(v[i] / scale);  // half to even, as cpu::quantize rounds
        sum += error * error;
    }
    return sum;
}

inline double sum_of_squares(const float* x, int64_t n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sum;
}

}  // namespace quaff
