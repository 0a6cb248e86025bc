// out[n,c] = factor x[n,c]. out may be x.
#pragma once

#include "llmc/cpu/device.h"

namespace cpu {

template <class T>
void scale(const Device& device, Matrix<T> out, ConstMatrix<T> x, float factor) {
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t n = 0; n < out.rows; n++) {
        T* out_row = out.row(n);
        const T* x_row = x.row(n);
#pragma omp simd
        for (int64_t c = 0; c < out.cols; c++) out_row[c] = static_cast<T>(factor) * x_row[c];
    }
}

}  // namespace cpu
