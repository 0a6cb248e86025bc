// The one weight that adds both corrections of a quantised linear (lora.h):
//
//   Wz = [ (alpha/r) B | (s - 1) Wo ]           [O, R + n], B block-diagonal over the adapters; Wo itself if s is null
//
// Written (=) in the compute type T; B and s are fp32. One thread per element: its column says which adapter, or which
// outlier channel, it belongs to. Columns of Wz beyond those are zero.
#pragma once

#include <vector>

#include "llmc/core/integers.h"
#include "llmc/cuda/kernel/row_block.cuh"
#include "quaff/model/lora.h"

namespace cuda {

// The B of a joint linear's adapters (q, k, v: three), as kernel arguments.
struct AdapterBlocks {
    static constexpr int kMost = 4;
    struct Block {
        int64_t out_begin;
        float scaling;
        Matrix<const float> b;
    };
    Block blocks[kMost];
    int count = 0;
};

template <class T>
__global__ void joint_weight_kernel(Matrix<T> wz, AdapterBlocks adapters, Matrix<const T> outlier_weight,
                                    const float* s) {
    const uint32_t index = blockIdx.x * blockDim.x + threadIdx.x;
    const uint32_t cols = static_cast<uint32_t>(wz.cols);
    const int64_t o = index / cols;
    if (o >= wz.rows) return;
    int64_t k = index % cols;
    float value = 0;
    bool outlier = true;
    for (int p = 0; p < adapters.count && outlier; p++) {
        const Matrix<const float>& b = adapters.blocks[p].b;
        const int64_t local = o - adapters.blocks[p].out_begin;
        outlier = k >= b.cols;
        if (outlier) {
            k -= b.cols;
        } else if (local >= 0 && local < b.rows) {
            value = adapters.blocks[p].scaling * b(local, k);
        }
    }
    if (outlier && k < outlier_weight.cols)
        value = (s != nullptr ? s[k] - 1.0f : 1.0f) * to_float(outlier_weight(o, k));
    wz(o, index % cols) = from_float<T>(value);
}

// Wz [O, R + n or more] = from the adapters' B, `outlier_weight` Wo [O, n] and `s` [n] or null. Zero outside
// of B's blocks.
template <class T>
void joint_weight(const Device<T>& device, Matrix<T> wz, const std::vector<quaff::LoraAdapter>& adapters,
                  ConstMatrix<T> outlier_weight, const float* s) {
    constexpr int kThreads = 256;
    AdapterBlocks blocks;
    require(adapters.size() <= AdapterBlocks::kMost, "a joint layer has at most ", int{AdapterBlocks::kMost},
            " adapters, and this one has ", adapters.size());
    for (const quaff::LoraAdapter& adapter : adapters)
        blocks.blocks[blocks.count++] = {adapter.out_begin, adapter.scaling, adapter.b};
    require(wz.size() < (int64_t{1} << 32) - kThreads, "a joint weight of ", wz.rows, " x ", wz.cols,
            " is more than one kernel handles; use a lower rank");
    launch(device, "joint_weight", joint_weight_kernel<T>, dim3(static_cast<unsigned>(ceil_div(wz.size(), kThreads))),
           kThreads, 0, wz, blocks, outlier_weight, s);
}

}  // namespace cuda
