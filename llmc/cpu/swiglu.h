// SwiGLU on the joint output of gate_proj and up_proj, gate in the first F columns, up in the last F. With
// Gate::gelu_tanh it is GeGLU: a is the function of g that gate.h gives each gate, of silu g itself.
//
//   out = g sigmoid(a) u
//   du  = dout g sigmoid(a)                                     dg, du are written (=) and may overwrite gate, up
//   dg  = dout u sigmoid(a) (1 + g a' (1 - sigmoid(a)))
//
// Shazeer 2020, arXiv 2002.05202.
//
// With what the int8 linear above does to `out` (quantize.h):
//
//   swiglu_forward_absmax      swiglu_forward; outlier_absmax
//   swiglu_forward_quantize    swiglu_forward; quantize_rows
#pragma once

#include "llmc/core/gate.h"
#include "llmc/cpu/quantize.h"
#include "llmc/cpu/simd_math.h"

namespace cpu {

template <class T>
void swiglu_forward(const Device& device, Matrix<T> out, ConstMatrix<T> gate_up, Gate gate = Gate::silu) {
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t n = 0; n < out.rows; n++) {
        const int64_t width = out.cols;
        T* out_row = out.row(n);
        const T* g = gate_up.row(n);
        const T* u = g + width;
        with_gate(gate, [&](auto fixed) {
            constexpr Gate kGate = decltype(fixed)::value;
#pragma omp simd
            for (int64_t f = 0; f < width; f++) out_row[f] = g[f] / (1 + simd_exp(-gate_argument<kGate>(g[f]))) * u[f];
        });
    }
}

inline void swiglu_forward_absmax(const Device& device, Matrix<float> out, float* xmax, Matrix<const float> gate_up,
                                  std::span<const int32_t> channels, Gate gate = Gate::silu) {
    swiglu_forward<float>(device, out, gate_up, gate);
    outlier_absmax(device, xmax, out, channels);
}

inline void swiglu_forward_quantize(const Device& device, Matrix<float> out, Matrix<int8_t> q, float* row_scale,
                                    Matrix<float> outliers, Matrix<const float> gate_up, const RowTransform& transform,
                                    Gate gate = Gate::silu) {
    swiglu_forward<float>(device, out, gate_up, gate);
    quantize_rows(device, q, row_scale, outliers, out, transform);
}

template <class T>
void swiglu_backward(const Device& device, Matrix<T> dgate_up, ConstMatrix<T> dout, ConstMatrix<T> gate_up,
                     Gate gate = Gate::silu) {
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t n = 0; n < dout.rows; n++) {
        const int64_t width = dout.cols;
        T* dgate = dgate_up.row(n);
        T* dup = dgate + width;
        const T* dout_row = dout.row(n);
        const T* gate_row = gate_up.row(n);
        const T* up_row = gate_row + width;
        with_gate(gate, [&](auto fixed) {
            constexpr Gate kGate = decltype(fixed)::value;
#pragma omp simd
            for (int64_t f = 0; f < width; f++) {
                const T g = gate_row[f];
                const T u = up_row[f];
                const T sigmoid = 1 / (1 + simd_exp(-gate_argument<kGate>(g)));
                dup[f] = dout_row[f] * g * sigmoid;
                dgate[f] = dout_row[f] * u * sigmoid * (1 + gate_argument_growth<kGate>(g) * (1 - sigmoid));
            }
        });
    }
}

}  // namespace cpu
