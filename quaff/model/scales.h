// Targeted momentum scaling: the scales are the only part of a frozen layer that moves during training.
//
//   beta[j] = max(1, sqrt(xmax[j] / wmax[j]))           1 where wmax[j] == 0
//   s[j]    = gamma s[j] + (1 - gamma) beta[j]           s[j] = beta[j] the first time, when nothing was calibrated
//
// j runs over the layer's outlier channels. Every other channel has s = 1 for ever. xmax[j] = max_n |X[n, Oc[j]]|
// of the micro-batch, wmax[j] = max_o |W[o, Oc[j]]|. gamma is the weight of the old scale. Huang and Wu 2025, arXiv
// 2505.14742, section 3.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

#include "llmc/cpu/device.h"

namespace cpu {

// s [n] = beta of the maxima xmax [n] and wmax [n].
inline void scales_from_maxima(const Device&, std::span<float> s, const float* xmax, const float* wmax) {
    for (size_t j = 0; j < s.size(); j++) s[j] = wmax[j] > 0 ? std::max(1.0f, std::sqrt(xmax[j] / wmax[j])) : 1.0f;
}

// s [n] moves towards the beta of the maxima.
inline void update_scales(const Device&, std::span<float> s, const float* xmax, const float* wmax, float gamma) {
    for (size_t j = 0; j < s.size(); j++) {
        const float beta = wmax[j] > 0 ? std::max(1.0f, std::sqrt(xmax[j] / wmax[j])) : 1.0f;
        s[j] = gamma * s[j] + (1.0f - gamma) * beta;
    }
}

}  // namespace cpu
