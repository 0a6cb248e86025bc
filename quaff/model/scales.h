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
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

#include "llmc/cpu/device.h"

namespace cpu {

inline float beta_of_maxima(float xmax, float wmax, float strength) {
    if (!(wmax > 0)) return 1.0f;
    const float ratio = xmax / wmax;
    return std::max(1.0f, strength == 0.5f ? std::sqrt(ratio) : std::pow(ratio, strength));
}

// s [n] = beta of the maxima xmax [n] and wmax [n].
inline void scales_from_maxima(const Device&, std::span<float> s, const float* xmax, const float* wmax,
                               float strength) {
    for (size_t j = 0; j < s.size(); j++) s[j] = beta_of_maxima(xmax[j], wmax[j], strength);
}

// s [n] moves towards the beta of the maxima.
inline void update_scales(const Device&, std::span<float> s, const float* xmax, const float* wmax, float gamma,
                          float strength) {
    for (size_t j = 0; j < s.size(); j++)
        s[j] = gamma * s[j] + (1.0f - gamma) * beta_of_maxima(xmax[j], wmax[j], strength);
}

// A channel that was nearly silent must not be blown up when it speaks: the bound of the paper's code.
constexpr float kLeastMaximum = 1e-5f;

// In double, as what is rounded to int8 should not hang on how a processor rounds a power.
inline double power(double x, double exponent) {
    return exponent == 0.5 ? std::sqrt(x) : std::pow(x, exponent);
}

// s [I] of the maxima xmax [I] and wmax [I].
inline void smoothing_scales(const Device&, std::span<float> s, const float* xmax, const float* wmax, float alpha) {
    for (size_t i = 0; i < s.size(); i++) {
        const double x = std::max(xmax[i], kLeastMaximum), w = std::max(wmax[i], kLeastMaximum);
        const bool scaled = xmax[i] > 0 && wmax[i] > 0;
        s[i] = scaled ? static_cast<float>(power(x, alpha) / power(w, 1.0 - double{alpha})) : 1.0f;
    }
}

}  // namespace cpu
