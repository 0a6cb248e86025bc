// Weights to four bits (llmc/core/nf4.h):
//
//   quantize_nf4          codes, and the largest magnitude of each block
//   quantize_nf4_maxima   the scales of the blocks in 8 bits, once all are known
//
// All outputs are written (=). A NaN in a matrix makes the mean of its scales one, and with it every weight: the loss
// shows it.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>

#include "llmc/core/nf4.h"
#include "llmc/cpu/quantize.h"

namespace cpu {

// The code of the level that is nearest to x in [-1, 1]; halfway between two, the lower one.
inline uint8_t nearest_nf4(float x) {
    int code = 0;
    for (int k = 0; k < 15; k++) code += x > 0.5f * (nf4_level(k) + nf4_level(k + 1)) ? 1 : 0;
    return static_cast<uint8_t>(code);
}

// codes [rows, nf4_bytes(I)] and maxima [rows nf4_blocks(I)] of w [rows, I].
inline void quantize_nf4(const Device& device, Matrix<uint8_t> codes, float* maxima, Matrix<const float> w) {
    const int64_t in_row = nf4_blocks(w.cols);
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t o = 0; o < w.rows; o++) {
        std::fill_n(codes.row(o), codes.cols, uint8_t{0});
        for (int64_t b = 0; b < in_row; b++) {
            const int64_t begin = b * kNf4Block, end = std::min(begin + kNf4Block, w.cols);
            int32_t largest = 0;
            for (int64_t i = begin; i < end; i++) largest = std::max(largest, magnitude_bits(w(o, i)));
            const float maximum = std::bit_cast<float>(largest);
            maxima[o * in_row + b] = maximum;
            for (int64_t i = begin; i < end; i++) {
                const uint8_t code = nearest_nf4(maximum > 0 ? w(o, i) / maximum : 0.0f);
                codes(o, i / 2) = static_cast<uint8_t>(codes(o, i / 2) | code << (i % 2 == 0 ? 0 : 4));
            }
        }
    }
}

// codes [n] and group_factor [nf4_groups(n)] of maxima [n]. Returns their mean.
inline float quantize_nf4_maxima(std::span<uint8_t> codes, std::span<float> group_factor,
                                 std::span<const float> maxima) {
    double sum = 0;
    for (const float maximum : maxima) sum += maximum;
    const float mean = maxima.empty() ? 0.0f : static_cast<float>(sum / static_cast<double>(maxima.size()));
    for (size_t g = 0; g < group_factor.size(); g++) {
        const size_t begin = g * kNf4Group, end = std::min(begin + kNf4Group, maxima.size());
        float largest = 0;
        for (size_t b = begin; b < end; b++) largest = std::max(largest, std::abs(maxima[b] - mean));
        const float factor = largest > 0 ? largest / kLargestE4m3 : 1.0f;
        group_factor[g] = factor;
        for (size_t b = begin; b < end; b++)
            codes[b] = encode_e4m3(std::clamp((maxima[b] - mean) / factor, -kLargestE4m3, kLargestE4m3));
    }
    return mean;
}

}  // namespace cpu
