// What LoRA adapters compute at the input of their linear, with dropout before A:
//
//   lora_down      z[n,r]   = sum_i D(x)[n,i] a[r,i]                      forward
//   lora_down_dx   dx[n,i] += mask[n,i] / (1-p) sum_r dz[n,r] a[r,i]      gradient of the input
//   lora_down_da   da[r,i] += sum_n dz[n,r] D(x)[n,i]                     gradient of A
//
// n: tokens; i: features; r: ranks of the layer's adapters, one after the other. D(x) = mask x / (1-p) is the dropout
// of dropout.h, and x itself if p = 0. z is written (=), dx and da are accumulated (+=). Hu et al. 2021, arXiv
// 2106.09685.
//
// This file builds them from a device's other operators, with D(x) and dz a in `scratch`. The CPU uses nothing else; a
// GPU uses it for what its own kernels do not take.
#pragma once

#include <cstdint>
#include <span>

#include "llmc/core/error.h"
#include "llmc/core/operator_options.h"
#include "llmc/core/tensor.h"

namespace llmc {

// Elements of scratch that the three need for `tokens` rows.
inline int64_t lora_down_workspace_of_operators(int64_t tokens, int64_t in_features, float p) {
    return p > 0 ? tokens * in_features : 0;
}

inline void require_lora_down_workspace(int64_t needed, size_t got) {
    require(static_cast<int64_t>(got) >= needed, "the adapters' products need a workspace of ", needed,
            " elements and got ", got);
}

template <class T>
Matrix<T> lora_down_scratch(ConstMatrix<T> x, const Dropout& dropout, std::span<T> scratch) {
    require_lora_down_workspace(lora_down_workspace_of_operators(x.rows, x.cols, dropout.p), scratch.size());
    return {scratch.data(), x.rows, x.cols};
}

template <class T, class Device>
Matrix<const T> dropped(const Device& device, ConstMatrix<T> x, const Dropout& dropout, std::span<T> scratch) {
    if (dropout.p == 0) return x;
    const Matrix<T> out = lora_down_scratch<T>(x, dropout, scratch);
    dropout_forward<T>(device, out, x, dropout.p, dropout.stream);
    return out;
}

template <class T, class Device>
void lora_down_of_operators(const Device& device, Matrix<T> z, ConstMatrix<T> x, ConstMatrix<T> a,
                            const Dropout& dropout, std::span<T> scratch) {
    gemm_nt<T>(device, z, dropped<T>(device, x, dropout, scratch), a, 1, 0);
}

template <class T, class Device>
void lora_down_dx_of_operators(const Device& device, Matrix<T> dx, ConstMatrix<T> dz, ConstMatrix<T> a,
                               const Dropout& dropout, std::span<T> scratch) {
    if (dropout.p == 0) {
        gemm_nn<T>(device, dx, dz, a, 1, 1);
        return;
    }
    const Matrix<T> before_mask = lora_down_scratch<T>(dx, dropout, scratch);
    gemm_nn<T>(device, before_mask, dz, a, 1, 0);
    dropout_backward<T>(device, dx, before_mask, dropout.p, dropout.stream);
}

template <class T, class Device, class Sum>
void lora_down_da_of_operators(const Device& device, Matrix<Sum> da, ConstMatrix<T> dz, ConstMatrix<T> x,
                               const Dropout& dropout, std::span<T> scratch) {
    gemm_tn<T>(device, da, dz, dropped<T>(device, x, dropout, scratch), 1, 1);
}

}  // namespace llmc
