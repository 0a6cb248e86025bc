// The products with weights in four bits (llmc/core/nf4.h), which are widened a block at a time (widened_gemm.h):
//
//   nf4_gemm_nt   y[N,O] = x[N,I] w[O,I]^T + beta y
//   nf4_gemm_nn   y[N,I] = x[N,O] w[O,I]
//
// y is written (=) if beta is 0, and then not read.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "llmc/core/nf4.h"
#include "llmc/cpu/gemm/widened_gemm.h"

namespace cpu {

// The two levels of a byte of codes: one look-up for two weights.
struct Nf4Pair {
    float low, high;
};
inline const std::array<Nf4Pair, 256>& nf4_pairs() {
    static const std::array<Nf4Pair, 256> pairs = [] {
        std::array<Nf4Pair, 256> all;
        for (int byte = 0; byte < 256; byte++) all[byte] = {nf4_level(byte & 15), nf4_level(byte >> 4)};
        return all;
    }();
    return pairs;
}

// As widened_gemm() asks for it.
struct WidenedNf4 {
    Nf4Matrix w;

    int64_t rows() const { return w.codes.rows; }
    int64_t cols() const { return w.cols; }
    void widen(int64_t row, int64_t col, float* out, int64_t count) const {
        for (int64_t begin = col; begin < col + count;) {
            const int64_t end = std::min(round_up(begin + 1, kNf4Block), col + count);
            const float maximum = w.maximum(row, begin);
            int64_t i = begin;
            if (i % 2 == 1) {
                out[i - col] = maximum * w.level(row, i);
                i++;
            }
            for (; i + 1 < end; i += 2) {
                const Nf4Pair& pair = nf4_pairs()[w.codes(row, i / 2)];
                out[i - col] = maximum * pair.low;
                out[i + 1 - col] = maximum * pair.high;
            }
            if (i < end) out[i - col] = maximum * w.level(row, i);
            begin = end;
        }
    }
};

// Elements of the workspaces below.
inline int64_t nf4_gemm_workspace(const Device& device, int64_t out_features, int64_t in_features) {
    return widened_gemm_workspace(device, out_features, in_features);
}

template <class T>
void nf4_gemm_nt(const Device& device, Matrix<T> y, ConstMatrix<T> x, const Nf4Matrix& w, float beta,
                 std::span<T> workspace) {
    widened_gemm(device, 'T', y, x, WidenedNf4{w}, beta, workspace);
}

template <class T>
void nf4_gemm_nn(const Device& device, Matrix<T> y, ConstMatrix<T> x, const Nf4Matrix& w, std::span<T> workspace) {
    widened_gemm(device, 'N', y, x, WidenedNf4{w}, 0, workspace);
}

}  // namespace cpu
