// Soft caps: values x, attention scores or logits, are bent smoothly to stay within -cap .. cap.
//
//   y     = cap tanh(x / cap)
//   dy/dx = 1 - (y / cap)^2
//
// soft_cap writes y in place of x; a cap of 0 is none. Attention and the loss cap by themselves, with their gradients
// (attention.h, cross_entropy.h). Gemma 2, arXiv 2408.00118.
#pragma once

#include "llmc/core/operator_options.h"
#include "llmc/cpu/device.h"
#include "llmc/cpu/simd_math.h"

namespace cpu {

template <class T>
struct SoftCap {
    T cap, inverse;

    explicit SoftCap(float value) : cap(static_cast<T>(value)), inverse(1 / cap) {}

    T operator()(T x) const { return cap * simd_tanh(x * inverse); }
    // dy/dx, from y.
    T slope(T y) const { return 1 - (y * inverse) * (y * inverse); }
};

template <class T>
void soft_cap(const Device& device, Matrix<T> x, float cap) {
    require_soft_cap(cap);
    if (cap == 0) return;
    const SoftCap<T> capped(cap);
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t n = 0; n < x.rows; n++) {
        T* row = x.row(n);
#pragma omp simd
        for (int64_t c = 0; c < x.cols; c++) row[c] = capped(row[c]);
    }
}

}  // namespace cpu
