// Targeted momentum scaling: the scales are the only part of a frozen layer that moves during training.
//
//   beta[j] = max(1, sqrt(xmax[j] / wmax[j]))           1 where wmax[j] == 0
//   s[j]    = gamma s[j] + (1 - gamma) beta[j]           s[j] = beta[j] the first time, when nothing was calibrated
//
// j runs over the layer's outlier channels. Every other channel has s = 1 for ever. xmax[j] = max_n |X[n, Oc[j]]|
// of the micro-batch, wmax[j] = max_o |W[o, Oc[j]]|. gamma is the weight of the old scale. Huang and Wu 2025, arXiv
// 2505.14742, section 3.
//
// s, xmax and wmax stay on the device; the host never sees them. One thread per outlier channel.
#pragma once

#include <span>

#include "llmc/core/integers.h"
#include "llmc/cuda/runtime/launch.cuh"

namespace cuda {

constexpr int kScaleThreads = 64;

__device__ inline float beta_of_maxima(float xmax, float wmax) {
    return wmax > 0 ? fmaxf(1.0f, sqrtf(xmax / wmax)) : 1.0f;
}

// With gamma 0 the old s does not count, whatever it holds.
template <class Float>
__global__ void update_scales_kernel(Float* s, const Float* xmax, const Float* wmax, float gamma, int count) {
    const int j = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (j >= count) return;
    const float beta = beta_of_maxima(xmax[j], wmax[j]);
    s[j] = gamma == 0.0f ? beta : fmaf(gamma, s[j], (1.0f - gamma) * beta);
}

// s [n] moves towards the beta of the maxima.
template <class T>
void update_scales(const Device<T>& device, std::span<float> s, const float* xmax, const float* wmax, float gamma) {
    const int count = static_cast<int>(s.size());
    launch(device, "update_scales", update_scales_kernel<float>, ceil_div(count, kScaleThreads), kScaleThreads, 0,
           s.data(), xmax, wmax, gamma, count);
}

// s [n] = beta of the maxima xmax [n] and wmax [n].
template <class T>
void scales_from_maxima(const Device<T>& device, std::span<float> s, const float* xmax, const float* wmax) {
    update_scales(device, s, xmax, wmax, 0.0f);
}

}  // namespace cuda
