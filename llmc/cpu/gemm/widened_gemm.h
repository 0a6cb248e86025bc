// Products with a weight that is stored in fewer bits than it is multiplied in. Each thread widens a block of w at a
// time into its part of `workspace` and multiplies it.
//
//   y[N,O] = x[N,I] w[O,I]^T + beta y        transpose_w: 'T'
//   y[N,I] = x[N,O] w[O,I]   + beta y        'N'
//
// y is written (=) if beta is 0, and then not read. A Stored has rows(), cols() and
// widen(row, col, out, count): out = `count` elements of a row, from `col` on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "llmc/core/integers.h"
#include "llmc/cpu/gemm/gemm.h"

namespace cpu {

// A block of w that a thread widens: long in the contraction, 1 MiB in all.
constexpr int64_t kWidenedTerms = 1024, kWidenedColumns = 256;

inline int64_t widened_gemm_workspace(const Device& device, int64_t rows, int64_t cols) {
    return device.threads * std::min(kWidenedTerms * kWidenedColumns, rows * cols);
}

template <class Stored>
void widened_gemm(const Device& device, char transpose_w, Matrix<float> y, Matrix<const float> x, const Stored& w,
                  float beta, std::span<float> workspace) {
    const int64_t block = std::min(kWidenedTerms * kWidenedColumns, w.rows() * w.cols());
    require(static_cast<int64_t>(workspace.size()) >= device.threads * block, "a GEMM of narrow weights needs ",
            device.threads * block, " elements of workspace and got ", workspace.size());
    // Enough tiles of y to keep every thread busy; each widens what it needs of w.
    const int64_t across = ceil_div(y.cols, kWidenedColumns);
    int64_t rows = y.rows;
    while (rows > 64 && across * ceil_div(y.rows, rows) < 2 * device.threads) rows = (rows + 1) / 2;
    const Device alone = device.alone();
#pragma omp parallel num_threads(device.threads)
    {
        float* own = workspace.data() + omp_get_thread_num() * block;
#pragma omp for collapse(2) schedule(dynamic)
        for (int64_t col = 0; col < y.cols; col += kWidenedColumns) {
            for (int64_t row = 0; row < y.rows; row += rows) {
                const int64_t cols = std::min(kWidenedColumns, y.cols - col), m = std::min(rows, y.rows - row);
                for (int64_t k = 0; k < x.cols; k += kWidenedTerms) {
                    const int64_t terms = std::min(kWidenedTerms, x.cols - k);
                    const bool transposed = transpose_w == 'T';
                    const Matrix<float> part(own, transposed ? cols : terms, transposed ? terms : cols);
                    for (int64_t i = 0; i < part.rows; i++)
                        w.widen((transposed ? col : k) + i, transposed ? k : col, part.row(i), part.cols);
                    gemm<float>(alone, 'N', transpose_w, y.rows_at(row, m).columns(col, cols),
                                x.rows_at(row, m).columns(k, terms), part, terms, 1.0f, k == 0 ? beta : 1.0f);
                }
            }
        }
    }
}

}  // namespace cpu
