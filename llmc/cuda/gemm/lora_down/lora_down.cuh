// What LoRA adapters compute at the input of their linear, with dropout before A (llmc/core/lora_down.h):
//
//   lora_down      z[n,r]   = sum_i D(x)[n,i] a[r,i]                      forward
//   lora_down_dx   dx[n,i] += mask[n,i] / (1-p) sum_r dz[n,r] a[r,i]      gradient of the input
//   lora_down_da   da[r,i] += sum_n dz[n,r] D(x)[n,i]                     gradient of A
//
// Each reads its large matrix once, dx is written once, and D(x) and dz a never go to memory: a lane draws the mask of
// the Eights that it has loaded, and D(x) is rounded to T as dropout_forward rounds it.
//
// All operands go from global memory straight to the tensor cores, without shared memory. A product may sum in any
// order that both operands share, and may permute its rows and columns. Here the order is such that the registers of a
// lane (mma.cuh) are the Eights that it loads, draws for, and stores.
//
// The kernels take 16-bit types with rows at multiples of 16 bytes, and ranks whose sums fit into registers; all else
// goes through dropout.cuh and gemm.cuh. So does what has no dropout: cuBLASLt reads its operands once, too, and is
// faster.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include "llmc/core/lora_down.h"
#include "llmc/cuda/dropout.cuh"
#include "llmc/cuda/gemm/gemm.cuh"
#include "llmc/cuda/gemm/lora_down/a_gradient.cuh"
#include "llmc/cuda/gemm/lora_down/forward.cuh"
#include "llmc/cuda/gemm/lora_down/input_gradient.cuh"

namespace cuda {

template <class T>
bool lora_down_fuses(const Matrix<const T>& x, const Matrix<const T>& a, float p) {
    return sizeof(T) == 2 && p > 0 && a.rows <= kMostFusedRank && can_pack<8>(x) && can_pack<8>(a);
}

// Elements of scratch that the three need for `tokens` rows at multiples of 16 bytes, which the arena gives rows of a
// multiple of 8 features: the partial sums of lora_down_da, or dropout(x).
template <class T>
int64_t lora_down_workspace(const Device<T>& device, int64_t tokens, int64_t in_features, int64_t rank, float p) {
    if (sizeof(T) == 2 && p > 0 && rank <= kMostFusedRank && in_features % 8 == 0)
        return lora_down_da_slices(device, tokens, in_features, rank) * rank * in_features *
               static_cast<int64_t>(sizeof(float) / sizeof(T));
    return lora_down_workspace_of_operators(tokens, in_features, p);
}

template <class T>
void lora_down(const Device<T>& device, Matrix<T> z, ConstMatrix<T> x, ConstMatrix<T> a, const Dropout& dropout,
               std::type_identity_t<std::span<T>> scratch) {
    if constexpr (sizeof(T) == 2) {
        if (lora_down_fuses(x, a, dropout.p)) {
            launch_lora_down<T>(device, kLoraDownThreads, z, x, a, dropout);
            return;
        }
    }
    lora_down_of_operators<T>(device, z, x, a, dropout, scratch);
}

template <class T>
void lora_down_dx(const Device<T>& device, Matrix<T> dx, ConstMatrix<T> dz, ConstMatrix<T> a, const Dropout& dropout,
                  std::type_identity_t<std::span<T>> scratch) {
    if constexpr (sizeof(T) == 2) {
        if (lora_down_fuses<T>(dx, a, dropout.p)) {
            launch_lora_down_dx<T>(device, kLoraDownDxThreads, dx, dz, a, dropout);
            return;
        }
    }
    lora_down_dx_of_operators<T>(device, dx, dz, a, dropout, scratch);
}

template <class T>
void lora_down_da(const Device<T>& device, Matrix<float> da, ConstMatrix<T> dz, ConstMatrix<T> x,
                  const Dropout& dropout, std::type_identity_t<std::span<T>> scratch) {
    if constexpr (sizeof(T) == 2) {
        if (dropout.p > 0 && da.rows <= kMostFusedRank && can_pack<8>(x)) {
            require_lora_down_workspace(lora_down_workspace(device, x.rows, x.cols, da.rows, dropout.p),
                                        scratch.size());
            launch_lora_down_da<T>(device, da, dz, x, dropout, reinterpret_cast<float*>(scratch.data()));
            return;
        }
    }
    lora_down_da_of_operators<T>(device, da, dz, x, dropout, scratch);
}

}  // namespace cuda
