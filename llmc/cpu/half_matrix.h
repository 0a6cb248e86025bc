// Matrices that stay in the 16 bits a file has them in and are widened, exactly, where they are used: a table of
// embeddings takes half the memory, and a generated token reads half as much.
//
//   half_embedding_forward   out[n,:] = table[ids[n],:]
//   half_gemm_nt             y[N,O]   = x[N,I] w[O,I]^T + beta y
//   half_gemm_nn             y[N,I]   = x[N,O] w[O,I]
//
// All write (=); with beta = 0 the old y is not read. A thread widens a block of w at a time into its part of
// `workspace` and multiplies it by itself. Where the device's products are bf16, BF16 weights are multiplied as they
// are, and F16 ones are rounded after all. Up to kFewHalfRows rows, as generation has, are multiplied with rows of w as
// these are read, in floats.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "llmc/cpu/device.h"
#include "llmc/cpu/embedding.h"
#include "llmc/cpu/gemm.h"
#include "llmc/dtype.h"

namespace cpu {

struct HalfMatrix {
    DType dtype = DType::bf16;  // or f16
    Matrix<uint16_t> bits;

    // out = the elements from `col` on of a row.
    void widen(int64_t row, int64_t col, float* out, int64_t count) const {
        to_float(dtype, reinterpret_cast<const std::byte*>(bits.row(row) + col), out, count);
    }
};

// Whether bf16_gemm.h takes the weights as they are.
inline bool multiplies_as_stored(const Device& device, DType dtype) {
    return device.products == Products::bf16 && dtype == DType::bf16;
}

// A block of w that a thread widens: long in the contraction, 1 MiB in all.
constexpr int64_t kWidenedTerms = 1024, kWidenedColumns = 256;

constexpr int64_t kFewHalfRows = 4;  // that are multiplied without a block of w

// Of weights of `dtype` [rows, cols].
inline int64_t half_gemm_workspace(const Device& device, DType dtype, int64_t rows, int64_t cols) {
    if (multiplies_as_stored(device, dtype)) return 0;
    return device.threads * std::min(kWidenedTerms * kWidenedColumns, rows * cols);
}

inline void half_embedding_forward(const Device& device, Matrix<float> out, const HalfMatrix& table,
                                   std::span<const int32_t> ids) {
    require_ids(ids, table.bits.rows);
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t n = 0; n < out.rows; n++) table.widen(ids[n], 0, out.row(n), out.cols);
}

// y = x w^T + beta y, of at most kFewHalfRows rows; four columns at a time, so that four sums run side by side.
inline void half_gemm_nt_few(const Device& device, Matrix<float> y, Matrix<const float> x, const HalfMatrix& w,
                             float beta) {
    constexpr int64_t kColumns = 4, kTerms = 512;
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t o = 0; o < y.cols; o += kColumns) {
        const int64_t columns = std::min(kColumns, y.cols - o);
        float sums[kFewHalfRows][kColumns] = {}, part[kColumns][kTerms] = {};
        for (int64_t k = 0; k < x.cols; k += kTerms) {
            const int64_t terms = std::min(kTerms, x.cols - k);
            for (int64_t c = 0; c < columns; c++) w.widen(o + c, k, part[c], terms);
            for (int64_t m = 0; m < x.rows; m++) {
                const float* row = x.row(m) + k;
                float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
                for (int64_t i = 0; i < terms; i++) {
                    s0 += row[i] * part[0][i];
                    s1 += row[i] * part[1][i];
                    s2 += row[i] * part[2][i];
                    s3 += row[i] * part[3][i];
                }
                sums[m][0] += s0;
                sums[m][1] += s1;
                sums[m][2] += s2;
                sums[m][3] += s3;
            }
        }
        for (int64_t m = 0; m < y.rows; m++)
            for (int64_t c = 0; c < columns; c++)
                y(m, o + c) = beta == 0 ? sums[m][c] : std::fma(beta, y(m, o + c), sums[m][c]);
    }
}

// y = x op(w) + beta y, where op transposes for 'T'.
inline void half_gemm(const Device& device, char transpose_w, Matrix<float> y, Matrix<const float> x,
                      const HalfMatrix& w, float beta, std::span<float> workspace) {
    if (multiplies_as_stored(device, w.dtype))
        return bf16_gemm(device, 'N', transpose_w, y, x, Matrix<const uint16_t>(w.bits), x.cols, 1, beta);
    const int64_t block = std::min(kWidenedTerms * kWidenedColumns, w.bits.size());
    require(static_cast<int64_t>(workspace.size()) >= device.threads * block, "a GEMM of 16-bit weights needs ",
            device.threads * block, " elements of workspace and got ", workspace.size());
    // As many tiles of y as keep every thread busy; each widens what it needs of w.
    const int64_t across = (y.cols + kWidenedColumns - 1) / kWidenedColumns;
    int64_t rows = y.rows;
    while (rows > 64 && across * ((y.rows + rows - 1) / rows) < 2 * device.threads) rows = (rows + 1) / 2;
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

inline void half_gemm_nt(const Device& device, Matrix<float> y, Matrix<const float> x, const HalfMatrix& w, float beta,
                         std::span<float> workspace) {
    if (x.rows <= kFewHalfRows) return half_gemm_nt_few(device, y, x, w, beta);
    half_gemm(device, 'T', y, x, w, beta, workspace);
}

inline void half_gemm_nn(const Device& device, Matrix<float> y, Matrix<const float> x, const HalfMatrix& w,
                         std::span<float> workspace) {
    half_gemm(device, 'N', y, x, w, 0, workspace);
}

}  // namespace cpu
