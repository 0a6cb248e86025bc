// The scales of a layer's input channels, which move what is too large for int8 from X to W.
//
// Targeted momentum scaling of outlier channels, whose scales every training pass moves:
//
//   beta[j] = max(1, (xmax[j] / wmax[j])^strength)      1 where wmax[j] == 0; the paper's strength is 1/2
//   s[j]    = gamma s[j] + (1 - gamma) beta[j]           s[j] = beta[j] the first time, when nothing was calibrated
//
// j runs over the layer's outlier channels. Every other channel has s = 1 for ever. xmax[j] = max_n |X[n, Oc[j]]|
// of the micro-batch, wmax[j] = max_o |W[o, Oc[j]]|. gamma is the weight of the old scale. Huang and Wu 2025, arXiv
// 2505.14742, section 3.
//
// Smoothing, of all channels i:
//
//   s[i]    = xmax[i]^a / wmax[i]^(1-a)                  1 where either is 0; both are taken as 1e-5 at least
//
// Xiao et al. 2023, arXiv 2211.10438, equation 4.
//
// s, xmax and wmax stay on the device; the host sees only the maxima that a method asks for. One thread per channel.
#pragma once

#include <span>

#include "llmc/core/integers.h"
#include "llmc/cuda/runtime/launch.cuh"
#include "quaff/model/scales.h"

namespace cuda {

constexpr int kScaleThreads = 64;

__device__ inline float beta_of_maxima(float xmax, float wmax, float strength) {
    if (!(wmax > 0)) return 1.0f;
    const float ratio = xmax / wmax;
    return fmaxf(1.0f, strength == 0.5f ? sqrtf(ratio) : powf(ratio, strength));
}

// With gamma 0 the old s does not count, whatever it holds.
template <class Float>
__global__ void update_scales_kernel(Float* s, const Float* xmax, const Float* wmax, float gamma, float strength,
                                     int count) {
    const int j = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (j >= count) return;
    const float beta = beta_of_maxima(xmax[j], wmax[j], strength);
    s[j] = gamma == 0.0f ? beta : fmaf(gamma, s[j], (1.0f - gamma) * beta);
}

// s [n] moves towards the beta of the maxima.
template <class T>
void update_scales(const Device<T>& device, std::span<float> s, const float* xmax, const float* wmax, float gamma,
                   float strength) {
    const int count = static_cast<int>(s.size());
    launch(device, "update_scales", update_scales_kernel<float>, ceil_div(count, kScaleThreads), kScaleThreads, 0,
           s.data(), xmax, wmax, gamma, strength, count);
}

// s [n] = beta of the maxima xmax [n] and wmax [n].
template <class T>
void scales_from_maxima(const Device<T>& device, std::span<float> s, const float* xmax, const float* wmax,
                        float strength) {
    update_scales(device, s, xmax, wmax, 0.0f, strength);
}

// In double, as what is rounded to int8 should not hang on how a processor rounds a power.
__device__ inline double power(double x, double exponent) {
    return exponent == 0.5 ? sqrt(x) : pow(x, exponent);
}

template <class Float>
__global__ void smoothing_scales_kernel(Float* s, const Float* xmax, const Float* wmax, float alpha, int count) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= count) return;
    const double x = fmaxf(xmax[i], cpu::kLeastMaximum), w = fmaxf(wmax[i], cpu::kLeastMaximum);
    const bool scaled = xmax[i] > 0 && wmax[i] > 0;
    s[i] = scaled ? static_cast<Float>(power(x, alpha) / power(w, 1.0 - static_cast<double>(alpha))) : Float{1};
}

// s [I] of the maxima xmax [I] and wmax [I].
template <class T>
void smoothing_scales(const Device<T>& device, std::span<float> s, const float* xmax, const float* wmax, float alpha) {
    const int count = static_cast<int>(s.size());
    launch(device, "smoothing_scales", smoothing_scales_kernel<float>, ceil_div(count, kScaleThreads), kScaleThreads, 0,
           s.data(), xmax, wmax, alpha, count);
}

}  // namespace cuda
