// The loops of the bf16 GEMMs around a Kernel (bf16_kernel.h).
//
// The threads share out tiles of y. For each, kDepth terms at a time, a thread packs its columns of op(b) in panels,
// then some rows of op(a), and multiplies them: what is packed stays in its caches. Each sum runs over k in the same
// order whatever the tiles and the number of threads. Goto and van de Geijn 2008, Anatomy of High-Performance Matrix
// Multiplication.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "llmc/core/integers.h"
#include "llmc/cpu/device.h"
#include "llmc/cpu/gemm/bf16_kernel.h"

namespace cpu::bf16 {

constexpr int64_t kColumns = 256;  // of a tile, at most: 256 KiB of op(b), packed

// The packed operands of a tile: 308 KiB on the thread's stack, which has megabytes unless OMP_STACKSIZE says less.
struct Packed {
    alignas(64) uint32_t a[kRows * kPairStride];
    alignas(64) uint32_t b[kColumns * kDepth / 2];
};

// All packed rows times a panel, R rows at a time; smaller blocks take what is left over.
template <class Kernel, bool kAlongK, int R = Kernel::kBlockRows>
void multiply_rows(const uint32_t* a, int64_t rows, const uint32_t* b, int64_t pairs, const Output& out,
                   int64_t row = 0) {
    for (; row + R <= rows; row += R) {
        const Output here{out.y + row * out.stride, out.stride, out.cols, out.alpha, out.beta};
        Kernel::template multiply<R, kAlongK>(a + row * (kAlongK ? kPairStride : 1), b, pairs, here);
    }
    constexpr int kSmaller = R == 12 ? 8 : R / 2;
    if constexpr (kSmaller > 0) multiply_rows<Kernel, kAlongK, kSmaller>(a, rows, b, pairs, out, row);
}

// One tile of y, at most kColumns wide.
template <class Kernel, class B>
void multiply_tile(Matrix<float> y, const Operand<float>& a, const Operand<B>& b, int64_t contraction, float alpha,
                   float beta) {
    Packed packed;
    for (int64_t k = 0; k < contraction; k += kDepth) {
        const int64_t depth = std::min(kDepth, contraction - k), pairs = (depth + 1) / 2;
        for (int64_t col = 0; col < y.cols; col += kPanel)
            Kernel::pack_panel(packed.b + col * (kDepth / 2), b.at(col, k), std::min(kPanel, y.cols - col), depth);
        for (int64_t row = 0; row < y.rows; row += kRows) {
            const int64_t rows = std::min(kRows, y.rows - row);
            Kernel::pack_rows(packed.a, a.at(row, k), rows, depth);
            for (int64_t col = 0; col < y.cols; col += kPanel) {
                const uint32_t* panel = packed.b + col * (kDepth / 2);
                const Output out{y.row(row) + col, y.stride, std::min(kPanel, y.cols - col), alpha,
                                 k == 0 ? beta : 1.0f};
                if (a.along_k)
                    multiply_rows<Kernel, true>(packed.a, rows, panel, pairs, out);
                else
                    multiply_rows<Kernel, false>(packed.a, rows, panel, pairs, out);
            }
        }
    }
}

// y = alpha op(a) op(b) + beta y, contracted over at least one term.
template <class Kernel, class B>
void gemm(const Device& device, Matrix<float> y, const Operand<float>& a, const Operand<B>& b, int64_t contraction,
          float alpha, float beta) {
    if (y.empty()) return;
    if (device.threads == 1) {  // perhaps inside a parallel region
        for (int64_t col = 0; col < y.cols; col += kColumns)
            multiply_tile<Kernel>(y.columns(col, std::min(kColumns, y.cols - col)), a, b.at(col, 0), contraction, alpha,
                                  beta);
        return;
    }
    // Enough tiles to keep every thread busy.
    int64_t rows = y.rows, cols = std::min(kColumns, y.cols);
    const auto tiles = [&] { return ceil_div(y.rows, rows) * ceil_div(y.cols, cols); };
    while (tiles() < 4 * device.threads && (rows > kRows || cols > 2 * kPanel)) {
        if (rows > kRows)
            rows = round_up(rows / 2, kRows);
        else
            cols = round_up(cols / 2, kPanel);
    }
#pragma omp parallel for num_threads(device.threads) collapse(2) schedule(dynamic)
    for (int64_t col = 0; col < y.cols; col += cols) {
        for (int64_t row = 0; row < y.rows; row += rows) {
            const int64_t m = std::min(rows, y.rows - row), n = std::min(cols, y.cols - col);
            multiply_tile<Kernel>(y.rows_at(row, m).columns(col, n), a.at(row, 0), b.at(col, 0), contraction, alpha,
                                  beta);
        }
    }
}

}  // namespace cpu::bf16
