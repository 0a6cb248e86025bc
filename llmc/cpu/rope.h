// Rotary position embedding, in place, in Hugging Face's rotate_half convention: channel i of a head's first
// rotary_dim channels turns together with channel i + rotary_dim/2, by the angle its position and i give.
//
//   a[i]        <- a[i] cos[p,i] - a[i+half] sin[p,i]          half = rotary_dim/2 = the tables' columns
//   a[i+half]   <- a[i+half] cos[p,i] + a[i] sin[p,i]          p = table_rows[n]
//
// Channels from rotary_dim on pass through. backward turns the other way. heads[n, n_heads*head_dim] is usually the
// q and k columns of the joint qkv buffer. Su et al. 2021, arXiv 2104.09864.
#pragma once

#include <cstdint>
#include <span>

#include "llmc/cpu/device.h"

namespace cpu {

// direction 1: forward, -1: the inverse.
template <class T>
void rope_turn(const Device& device, Matrix<T> heads, Matrix<const float> cos, Matrix<const float> sin,
               std::span<const int32_t> table_rows, int head_dim, T direction) {
    const int64_t half = cos.cols;
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t n = 0; n < heads.rows; n++) {
        const float* cos_row = cos.row(table_rows[n]);
        const float* sin_row = sin.row(table_rows[n]);
        for (T* head = heads.row(n); head < heads.row(n) + heads.cols; head += head_dim) {
#pragma omp simd
            for (int64_t i = 0; i < half; i++) {
                const T c = cos_row[i];
                const T s = direction * static_cast<T>(sin_row[i]);
                const T a = head[i];
                const T b = head[i + half];
                head[i] = a * c - b * s;
                head[i + half] = b * c + a * s;
            }
        }
    }
}

template <class T>
void rope_forward(const Device& device, Matrix<T> heads, Matrix<const float> cos, Matrix<const float> sin,
                  std::span<const int32_t> table_rows, int head_dim) {
    rope_turn(device, heads, cos, sin, table_rows, head_dim, T{1});
}

template <class T>
void rope_backward(const Device& device, Matrix<T> heads, Matrix<const float> cos, Matrix<const float> sin,
                   std::span<const int32_t> table_rows, int head_dim) {
    rope_turn(device, heads, cos, sin, table_rows, head_dim, T{-1});
}

}  // namespace cpu
