// SwiGLU on the joint output of gate_proj and up_proj, gate in the first F columns, up in the last F. With
// Gate::gelu_tanh it is GeGLU: a is the function of g that gate.h gives each gate, of silu g itself.
//
//   out = g sigmoid(a) u
//   du  = dout g sigmoid(a)                                     dg, du are written (=) and may overwrite gate, up
//   dg  = dout u sigmoid(a) (1 + g a' (1 - sigmoid(a)))
//
// Shazeer 2020, arXiv 2002.05202.
//
// With what the int8 linear above does to `out` (quantize.cuh):
//
//   swiglu_forward_absmax      swiglu_forward; outlier_absmax
//   swiglu_forward_quantize    swiglu_forward; quantize_rows           once s is known
//
// Alone, one Eight per thread. Fused, a block owns a row and holds `out`, rounded to T, in shared memory. The result
// has the bits of the two calls: the same device functions work on the same values. Each gate has its own kernels.
#pragma once

#include "llmc/core/gate.h"
#include "llmc/cuda/quantize.cuh"

namespace cuda {

template <class T, Gate kGate>
__device__ Eight<T> swiglu_eight(const Eight<T>& gate, const Eight<T>& up) {
    Eight<T> out;
#pragma unroll
    for (int k = 0; k < 8; k++) {
        const float g = to_float(gate[k]);
        out[k] = from_float<T>(g / (1.0f + expf(-gate_argument<kGate>(g))) * to_float(up[k]));
    }
    return out;
}

template <class T, Gate kGate>
__global__ void swiglu_forward_kernel(Matrix<T> out, Matrix<const T> gate_up) {
    const auto [n, f] = eight_position(out.cols);
    if (n >= out.rows) return;
    const T* gate = gate_up.row(n);
    const T* up = gate + out.cols;
    store_eight(out.row(n), f, out.cols,
                swiglu_eight<T, kGate>(load_eight(gate, f, out.cols), load_eight(up, f, out.cols)));
}

// One row of swiglu_forward, kept in `held` with its last Eight filled up with zeros.
template <class T, Gate kGate>
__device__ void swiglu_row(T* held, T* out, const T* gate, int width) {
    for (int f = first_column(); f < width; f += column_step()) {
        const Eight<T> values = swiglu_eight<T, kGate>(load_eight(gate, f, width), load_eight(gate + width, f, width));
        held_eight(held, f) = values;
        store_eight(out, f, width, values);
    }
}

template <class T, Gate kGate>
__global__ void swiglu_forward_absmax_kernel(Matrix<T> out, float* xmax, Matrix<const T> gate_up,
                                             const int32_t* channels, int count) {
    T* held = shared_memory<T>();
    const int64_t n = blockIdx.x;
    swiglu_row<T, kGate>(held, out.row(n), gate_up.row(n), static_cast<int>(out.cols));
    held_row_absmax(xmax, held, channels, count);
}

template <class T, Gate kGate>
__global__ void swiglu_forward_quantize_kernel(Matrix<T> out, Matrix<int8_t> q, float* row_scale, Matrix<T> outliers,
                                               Matrix<const T> gate_up, RowTransform transform) {
    T* held = shared_memory<T>();
    const int64_t n = blockIdx.x;
    const int width = static_cast<int>(out.cols), q_cols = static_cast<int>(q.stride);
    if (n >= out.rows) return zero_row(q.row(n), q_cols);
    swiglu_row<T, kGate>(held, out.row(n), gate_up.row(n), width);
    held_row_quantize(q.row(n), q_cols, row_scale + n, outliers.row(n), static_cast<int>(outliers.cols), held, width,
                      transform);
}

template <class T, Gate kGate>
__global__ void swiglu_backward_kernel(Matrix<T> dgate_up, Matrix<const T> dout, Matrix<const T> gate_up) {
    const auto [n, f] = eight_position(dout.cols);
    if (n >= dout.rows) return;
    const int64_t width = dout.cols;
    const Eight<T> d = load_eight(dout.row(n), f, width);
    Eight<T> gate = load_eight(gate_up.row(n), f, width), up = load_eight(gate_up.row(n) + width, f, width);
#pragma unroll
    for (int k = 0; k < 8; k++) {
        const float g = to_float(gate[k]), u = to_float(up[k]), growth = gate_argument_growth<kGate>(g);
        const float sigmoid = 1.0f / (1.0f + expf(-gate_argument<kGate>(g)));
        up[k] = from_float<T>(to_float(d[k]) * g * sigmoid);
        gate[k] = from_float<T>(to_float(d[k]) * u * sigmoid * fmaf(growth, 1.0f - sigmoid, 1.0f));
    }
    store_eight(dgate_up.row(n), f, width, gate);
    store_eight(dgate_up.row(n) + width, f, width, up);
}

template <class T>
void swiglu_forward(const Device<T>& device, Matrix<T> out, ConstMatrix<T> gate_up, Gate gate = Gate::silu) {
    with_gate(gate, [&](auto fixed) {
        constexpr Gate kGate = decltype(fixed)::value;
        launch(device, "swiglu_forward", swiglu_forward_kernel<T, kGate>, eight_blocks(out.rows, out.cols),
               kEightThreads, 0, out, gate_up);
    });
}

// xmax [n] (=) of `out`.
template <class T>
void swiglu_forward_absmax(const Device<T>& device, Matrix<T> out, float* xmax, ConstMatrix<T> gate_up,
                           std::span<const int32_t> channels, Gate gate = Gate::silu) {
    clear_absmax(device, xmax, channels.size());
    with_gate(gate, [&](auto fixed) {
        constexpr Gate kGate = decltype(fixed)::value;
        launch(device, "swiglu_forward_absmax", swiglu_forward_absmax_kernel<T, kGate>, row_blocks(out.rows),
               row_threads(out.cols), held_bytes<T>(out.cols), out, xmax, gate_up, channels.data(),
               static_cast<int>(channels.size()));
    });
}

// q, row_scale and outliers (=) of `out`.
template <class T>
void swiglu_forward_quantize(const Device<T>& device, Matrix<T> out, Matrix<int8_t> q, float* row_scale,
                             Matrix<T> outliers, ConstMatrix<T> gate_up, const RowTransform& transform,
                             Gate gate = Gate::silu) {
    with_gate(gate, [&](auto fixed) {
        constexpr Gate kGate = decltype(fixed)::value;
        launch(device, "swiglu_forward_quantize", swiglu_forward_quantize_kernel<T, kGate>, row_blocks(q.rows),
               row_threads(out.cols), held_bytes<T>(out.cols), out, q, row_scale, outliers, gate_up, transform);
    });
}

template <class T>
void swiglu_backward(const Device<T>& device, Matrix<T> dgate_up, ConstMatrix<T> dout, ConstMatrix<T> gate_up,
                     Gate gate = Gate::silu) {
    with_gate(gate, [&](auto fixed) {
        constexpr Gate kGate = decltype(fixed)::value;
        launch(device, "swiglu_backward", swiglu_backward_kernel<T, kGate>, eight_blocks(dout.rows, dout.cols),
               kEightThreads, 0, dgate_up, dout, gate_up);
    });
}

}  // namespace cuda
