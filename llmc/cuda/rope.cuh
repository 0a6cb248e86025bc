// Rotary position embedding, in place, in Hugging Face's rotate_half convention: channel i of a head's first
// rotary_dim channels turns together with channel i + rotary_dim/2, by the angle its position and i give.
//
//   a[i]        <- a[i] cos[p,i] - a[i+half] sin[p,i]          half = rotary_dim/2 = the tables' columns
//   a[i+half]   <- a[i+half] cos[p,i] + a[i] sin[p,i]          p = table_rows[n], in device memory
//
// Channels from rotary_dim on pass through. backward turns the other way. heads[n, n_heads*head_dim] is usually the
// q and k columns of the joint qkv buffer. Su et al. 2021, arXiv 2104.09864.
//
// A thread turns eight pairs: an Eight of a head's first half with its partner in the second.
#pragma once

#include <span>

#include "llmc/cuda/kernel/row_block.cuh"

namespace cuda {

// direction 1: forward, -1: the inverse.
template <class T>
__global__ void rope_turn_kernel(Matrix<T> heads, Matrix<const float> cos, Matrix<const float> sin,
                                 const int32_t* table_rows, int head_dim, float direction) {
    const int64_t half = cos.cols;
    const auto [head, i] = eight_position(half);  // heads of all tokens, one after the other
    const uint32_t n_heads = static_cast<uint32_t>(heads.cols) / static_cast<uint32_t>(head_dim);
    const uint32_t n = static_cast<uint32_t>(head) / n_heads;
    if (n >= heads.rows) return;
    T* first = heads.row(n) + static_cast<uint32_t>(head) % n_heads * static_cast<uint32_t>(head_dim);
    T* second = first + half;

    Eight<T> a = load_eight(first, i, half), b = load_eight(second, i, half);
    const Eight<float> c = load_eight(cos.row(table_rows[n]), i, half), s = load_eight(sin.row(table_rows[n]), i, half);
#pragma unroll
    for (int k = 0; k < 8; k++) {
        const float x = to_float(a[k]), y = to_float(b[k]), turn = direction * s[k];
        a[k] = from_float<T>(x * c[k] - y * turn);
        b[k] = from_float<T>(y * c[k] + x * turn);
    }
    store_eight(first, i, half, a);
    store_eight(second, i, half, b);
}

template <class T>
void rope_turn(const Device<T>& device, const char* name, Matrix<T> heads, Matrix<const float> cos,
               Matrix<const float> sin, std::span<const int32_t> table_rows, int head_dim, float direction) {
    launch(device, name, rope_turn_kernel<T>, eight_blocks(heads.rows * (heads.cols / head_dim), cos.cols),
           kEightThreads, 0, heads, cos, sin, table_rows.data(), head_dim, direction);
}

template <class T>
void rope_forward(const Device<T>& device, Matrix<T> heads, Matrix<const float> cos, Matrix<const float> sin,
                  std::span<const int32_t> table_rows, int head_dim) {
    rope_turn(device, "rope_forward", heads, cos, sin, table_rows, head_dim, 1.0f);
}

template <class T>
void rope_backward(const Device<T>& device, Matrix<T> heads, Matrix<const float> cos, Matrix<const float> sin,
                   std::span<const int32_t> table_rows, int head_dim) {
    rope_turn(device, "rope_backward", heads, cos, sin, table_rows, head_dim, -1.0f);
}

}  // namespace cuda
