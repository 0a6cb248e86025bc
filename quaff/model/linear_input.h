// The input of a quantised linear, and the operator that makes it.
//
// The linear needs three things of its input x: x itself, the largest magnitudes of its outlier channels, and int8
// rows. An operator that has just made a row of x can give the other two without reading the row again. So the linear
// gets the operator and calls it:
//
//   make             x
//   make_absmax      x, and xmax[j] = max_n |x[n,channels[j]]|         where the method must know them first
//   make_quantized   x, and q, row_scale, outliers of quantize_rows    where they do not
//
// All write (=). The results have the bits of the operator followed by outlier_absmax or quantize_rows.
#pragma once

#include <cstdint>
#include <span>
#include <variant>

#include "llmc/core/gate.h"
#include "llmc/core/operator_options.h"
#include "llmc/core/tensor.h"

namespace quaff {

using namespace llmc;

// Where int8 rows go: the outputs of quantize_rows.
template <class T>
struct QuantizedRows {
    Matrix<int8_t> q;    // [N,I], padded
    float* row_scale;    // [N]
    Matrix<T> outliers;  // [N,n]
};

// x exists already.
template <class Device>
struct PlainInput {
    using T = typename Device::compute_t;
    Matrix<const T> x;  // [N,I]

    void make(const Device&) const {}
    void make_absmax(const Device& device, float* xmax, std::span<const int32_t> channels) const {
        outlier_absmax(device, xmax, x, channels);
    }
    void make_quantized(const Device& device, const QuantizedRows<T>& rows, const RowTransform& transform) const {
        quantize_rows(device, rows.q, rows.row_scale, rows.outliers, x, transform);
    }
};

// x = rmsnorm(residual), residual = stream + delta.
template <class Device>
struct NormedInput {
    using T = typename Device::compute_t;
    Matrix<T> x, residual;  // [N,I], made
    float* rstd;            // [N], made
    Matrix<const T> stream, delta;
    NormWeight<T> weight;
    float eps;

    void make(const Device& device) const { rmsnorm_forward<T>(device, x, residual, rstd, stream, delta, weight, eps); }
    void make_absmax(const Device& device, float* xmax, std::span<const int32_t> channels) const {
        rmsnorm_forward_absmax(device, x, residual, rstd, xmax, stream, delta, weight, eps, channels);
    }
    void make_quantized(const Device& device, const QuantizedRows<T>& rows, const RowTransform& transform) const {
        rmsnorm_forward_quantize(device, x, residual, rstd, rows.q, rows.row_scale, rows.outliers, stream, delta,
                                 weight, eps, transform);
    }
};

// x = stream + delta, in families without a norm there. Made once; x may be the stream where nothing is added.
template <class Device>
struct SummedInput {
    using T = typename Device::compute_t;
    Matrix<T> x;                    // [N,I], made
    Matrix<const T> stream, delta;  // delta may be null

    void make(const Device& device) const {
        require(x.data != stream.data || delta.data == nullptr, "what is added to a stream in place is added twice");
        if (x.data != stream.data) copy<T>(device, x, stream);
        if (delta.data != nullptr) add<T>(device, x, delta);
    }
    void make_absmax(const Device& device, float* xmax, std::span<const int32_t> channels) const {
        make(device);
        outlier_absmax(device, xmax, x, channels);
    }
    void make_quantized(const Device& device, const QuantizedRows<T>& rows, const RowTransform& transform) const {
        make(device);
        quantize_rows(device, rows.q, rows.row_scale, rows.outliers, x, transform);
    }
};

// x = gate(g) up.
template <class Device>
struct ActivatedInput {
    using T = typename Device::compute_t;
    Matrix<T> x;              // [N,I], made
    Matrix<const T> gate_up;  // [N,2I]
    Gate gate;

    void make(const Device& device) const { swiglu_forward<T>(device, x, gate_up, gate); }
    void make_absmax(const Device& device, float* xmax, std::span<const int32_t> channels) const {
        swiglu_forward_absmax(device, x, xmax, gate_up, channels, gate);
    }
    void make_quantized(const Device& device, const QuantizedRows<T>& rows, const RowTransform& transform) const {
        swiglu_forward_quantize(device, x, rows.q, rows.row_scale, rows.outliers, gate_up, transform, gate);
    }
};

// One of them.
template <class Device>
class LinearInput {
  public:
    using T = typename Device::compute_t;
    Matrix<const T> x;

    template <class Input>
    LinearInput(const Input& input) : x(input.x), input_(input) {}

    void make(const Device& device) const {
        std::visit([&](const auto& input) { input.make(device); }, input_);
    }
    void make_absmax(const Device& device, float* xmax, std::span<const int32_t> channels) const {
        std::visit([&](const auto& input) { input.make_absmax(device, xmax, channels); }, input_);
    }
    void make_quantized(const Device& device, const QuantizedRows<T>& rows, const RowTransform& transform) const {
        std::visit([&](const auto& input) { input.make_quantized(device, rows, transform); }, input_);
    }

  private:
    std::variant<PlainInput<Device>, NormedInput<Device>, SummedInput<Device>, ActivatedInput<Device>> input_;
};

}  // namespace quaff
