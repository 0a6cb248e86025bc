// Rows picked from, and put back into, a longer matrix: only labelled positions go through the head.
//
//   gather_rows    out[i,:] = x[rows[i],:]
//   scatter_rows   out[rows[i],:] = x[i,:], every other row of out = 0;  rows ascending and distinct
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "llmc/cpu/device.h"

namespace cpu {

template <class T>
void gather_rows(const Device& device, Matrix<T> out, ConstMatrix<T> x, std::span<const int32_t> rows) {
    const int64_t count = static_cast<int64_t>(rows.size());
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t i = 0; i < count; i++) std::copy_n(x.row(rows[i]), out.cols, out.row(i));
}

template <class T>
void scatter_rows(const Device& device, Matrix<T> out, ConstMatrix<T> x, std::span<const int32_t> rows) {
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t n = 0; n < out.rows; n++) {
        const auto named = std::lower_bound(rows.begin(), rows.end(), n);
        if (named != rows.end() && *named == n) {
            std::copy_n(x.row(named - rows.begin()), out.cols, out.row(n));
        } else {
            std::fill_n(out.row(n), out.cols, T{0});
        }
    }
}

}  // namespace cpu
