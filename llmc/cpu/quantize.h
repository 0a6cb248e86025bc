// From float to int8 and the statistics that come with it. All use one rule, per row of v:
//
//   scale[n] = max_i |v[n,i]| / 127, a zero row gets 1
//   q[n,i]   = clamp(round_half_even(v[n,i] / scale[n]), -127, 127)
//
//   quantize_weight          v = W H
//   quantize_rows            v = Xh H: x, transformed (RowTransform in llmc/core/operator_options.h)
//                            outliers[n,j] = Xh[n,channels[j]], or x[n,channels[j]] where these are taken out;
//                            unless its data is null
//   quantize_gradient_rows   v[n,o] = dy[n,o] col_scale[o]
//
//   outlier_absmax           xmax[j] = max_n |x[n,channels[j]]|
//   dequantize_columns       w[o,j] = scale[o] q[o,channels[j]]
//
// All outputs are written (=). A NaN anywhere in a row makes its scale NaN, an infinity makes it infinite, so that
// neither is rounded away: the loss shows it.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "llmc/core/operator_options.h"
#include "llmc/cpu/device.h"
#include "llmc/cpu/hadamard.h"

namespace cpu {

// |x| as an integer: ordered as the absolute values are, infinity above all numbers and NaN above infinity.
inline int32_t magnitude_bits(float x) {
    return std::bit_cast<int32_t>(x) & 0x7fffffff;
}

inline float scale_from_magnitude(int32_t bits) {
    const float scale = std::bit_cast<float>(bits) / 127.0f;
    return scale == 0.0f ? 1.0f : scale;
}

// Adding 1.5 2^23 rounds half to even and leaves the integer in the low byte. The quotient is within 127 by
// construction (scale is the largest magnitude / 127, and both divisions round to nearest), the clamp is for the last
// ulp.
inline int8_t quantize(float value, float scale) {
    const float clamped = std::max(-127.0f, std::min(127.0f, value / scale));
    return static_cast<int8_t>(std::bit_cast<uint32_t>(clamped + 12582912.0f));
}

// The largest magnitude_bits(); 0 where n is 0.
inline int32_t largest_magnitude(const float* x, int64_t n) {
    int32_t largest = 0;
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < n; i++) largest = std::max(largest, magnitude_bits(x[i]));
    return largest;
}

inline float row_scale_of(const float* x, int64_t n) {
    return scale_from_magnitude(largest_magnitude(x, n));
}

inline void outlier_absmax(const Device& device, float* xmax, Matrix<const float> x,
                           std::span<const int32_t> channels) {
    const size_t count = channels.size();
    const bool all = static_cast<int64_t>(count) == x.cols;
    std::fill_n(xmax, count, 0.0f);
#pragma omp parallel num_threads(device.threads)
    {
        std::vector<int32_t> largest(count);  // of this thread's rows, which it reads one after the other
#pragma omp for schedule(static)
        for (int64_t n = 0; n < x.rows; n++) {
            const float* row = x.row(n);
            if (all) {
                int32_t* bits = largest.data();
#pragma omp simd
                for (size_t j = 0; j < count; j++) bits[j] = std::max(bits[j], magnitude_bits(row[j]));
                continue;
            }
            for (size_t j = 0; j < count; j++) largest[j] = std::max(largest[j], magnitude_bits(row[channels[j]]));
        }
#pragma omp critical(outlier_absmax)
        for (size_t j = 0; j < count; j++)
            xmax[j] = std::bit_cast<float>(std::max(std::bit_cast<int32_t>(xmax[j]), largest[j]));
    }
}

// q [cols] = of v [cols]. Returns its scale.
inline float quantize_row(int8_t* q, const float* v, int64_t cols) {
    const float scale = row_scale_of(v, cols);
#pragma omp simd
    for (int64_t i = 0; i < cols; i++) q[i] = quantize(v[i], scale);
    return scale;
}

// v [cols] = the transform of x. outliers [n]: as quantize_rows. With scales for all channels and no outliers to keep
// it is one division of vectors.
inline void transform_row(float* v, float* outliers, const float* x, int64_t cols, const RowTransform& transform) {
    if (!outliers && transform.s && static_cast<int64_t>(transform.channels.size()) == cols) {
#pragma omp simd
        for (int64_t i = 0; i < cols; i++) v[i] = x[i] / transform.s[i];
        return hadamard_row(v, cols, transform.rotation);
    }
    std::copy_n(x, cols, v);
    for (size_t j = 0; j < transform.channels.size(); j++) {
        float& value = v[transform.channels[j]];
        if (transform.s != nullptr) value /= transform.s[j];
        if (outliers) outliers[j] = value;
        if (transform.s == nullptr) value = 0;
    }
    hadamard_row(v, cols, transform.rotation);
}

inline void quantize_rows(const Device& device, Matrix<int8_t> q, float* row_scale, Matrix<float> outliers,
                          Matrix<const float> x, const RowTransform& transform) {
#pragma omp parallel num_threads(device.threads)
    {
        std::vector<float> v(static_cast<size_t>(x.cols));
#pragma omp for schedule(static)
        for (int64_t n = 0; n < x.rows; n++) {
            transform_row(v.data(), outliers.row(n), x.row(n), x.cols, transform);
            row_scale[n] = quantize_row(q.row(n), v.data(), x.cols);
        }
    }
}

inline void quantize_gradient_rows(const Device& device, Matrix<int8_t> q, float* row_scale, Matrix<const float> dy,
                                   const float* col_scale) {
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t n = 0; n < dy.rows; n++) {
        const float* dy_row = dy.row(n);
        int8_t* q_row = q.row(n);
        int32_t largest = 0;
#pragma omp simd reduction(max : largest)
        for (int64_t o = 0; o < dy.cols; o++) largest = std::max(largest, magnitude_bits(dy_row[o] * col_scale[o]));
        const float scale = scale_from_magnitude(largest);
        row_scale[n] = scale;
#pragma omp simd
        for (int64_t o = 0; o < dy.cols; o++) q_row[o] = quantize(dy_row[o] * col_scale[o], scale);
    }
}

// w [O,n] = columns `channels` of the matrix that q [O,I] and scale [O] hold.
inline void dequantize_columns(const Device& device, Matrix<float> w, Matrix<const int8_t> q, const float* scale,
                               std::span<const int32_t> channels) {
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t o = 0; o < w.rows; o++) {
        const int8_t* row = q.row(o);
        for (int64_t j = 0; j < w.cols; j++) w(o, j) = scale[o] * static_cast<float>(row[channels[j]]);
    }
}

// rotation: as in RowTransform.
inline void quantize_weight(const Device& device, Matrix<int8_t> q, float* scale, Matrix<const float> w,
                            int64_t rotation) {
    quantize_rows(device, q, scale, {}, w, {.rotation = rotation});
}

}  // namespace cpu
