// What LoRA adapters compute at the input of their linear (llmc/core/lora_down.h), by dropout.h and gemm.h.
//
//   lora_down      z[n,r]   = sum_i D(x)[n,i] a[r,i]
//   lora_down_dx   dx[n,i] += mask[n,i] / (1-p) sum_r dz[n,r] a[r,i]
//   lora_down_da   da[r,i] += sum_n dz[n,r] D(x)[n,i]
#pragma once

#include "llmc/core/lora_down.h"
#include "llmc/cpu/dropout.h"
#include "llmc/cpu/gemm/gemm.h"

namespace cpu {

inline int64_t lora_down_workspace(const Device&, int64_t tokens, int64_t in_features, int64_t /*rank*/, float p) {
    return lora_down_workspace_of_operators(tokens, in_features, p);
}

template <class T>
void lora_down(const Device& device, Matrix<T> z, ConstMatrix<T> x, ConstMatrix<T> a, const Dropout& dropout,
               std::span<T> scratch) {
    lora_down_of_operators<T>(device, z, x, a, dropout, scratch);
}

template <class T>
void lora_down_dx(const Device& device, Matrix<T> dx, ConstMatrix<T> dz, ConstMatrix<T> a, const Dropout& dropout,
                  std::span<T> scratch) {
    lora_down_dx_of_operators<T>(device, dx, dz, a, dropout, scratch);
}

template <class T>
void lora_down_da(const Device& device, Matrix<T> da, ConstMatrix<T> dz, ConstMatrix<T> x, const Dropout& dropout,
                  std::span<T> scratch) {
    lora_down_da_of_operators<T>(device, da, dz, x, dropout, scratch);
}

}  // namespace cpu
