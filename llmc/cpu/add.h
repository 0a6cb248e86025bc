// out[n,c] += x[n,c]
#pragma once

#include "llmc/cpu/device.h"

namespace cpu {

template <class T>
void add(const Device& device, Matrix<T> out, ConstMatrix<T> x) {
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t n = 0; n < out.rows; n++) {
        T* out_row = out.row(n);
        const T* x_row = x.row(n);
#pragma omp simd
        for (int64_t c = 0; c < out.cols; c++) out_row[c] += x_row[c];
    }
}

}  // namespace cpu
