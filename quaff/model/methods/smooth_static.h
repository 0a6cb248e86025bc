// smooth-static: int8 with all channels scaled by what calibration saw, once. SmoothQuant: Xiao et al. 2023, arXiv
// 2211.10438.
//
//   s[i] = max_n |X[n,i]|^a / max_o |W[o,i]|^(1-a)          1 where calibration saw nothing, or W has nothing
//   Wq   = round(W diag(s) / dW),  Xq = round(X diag(1/s) / dX)
//   Y    = dX dW (Xq Wq^T) + ..
//   dX   = (dG (Gq Wq)) diag(1/s)
//
// The division by s happens where X is quantised, not in the norm before it: the adapters read X itself.
#pragma once

#include <utility>
#include <vector>

#include "llmc/core/error.h"
#include "llmc/cpu/rows.h"
#include "quaff/files/method.h"
#include "quaff/model/int8_matrix.h"
#include "quaff/model/methods/method_weight.h"
#include "quaff/model/methods/smoothing.h"

namespace quaff {

template <class Device>
class SmoothStaticWeight : public MethodWeight<Device> {
  public:
    using T = typename Device::compute_t;
    using MethodWeight<Device>::shape;

    // channels: all that calibration saw, with their maxima.
    SmoothStaticWeight(const LinearShape& shape, const LinearMethod& method, LayerOutliers channels)
        : MethodWeight<Device>(shape), alpha_(method.smooth_alpha), seen_(std::move(channels)) {}

    void layout(Arena<Device>& arena, const Device& device) {
        weight_.layout(arena, device, shape());
        smoothing_.layout(arena, shape().in_features);
    }
    void size_workspace(const Device& device, LinearWorkspaceSizes& sizes, int64_t n_tokens, bool training,
                        int grad_bits) const {
        weight_.size_workspace(device, shape(), sizes, n_tokens, training, grad_bits);
    }

    // s depends on all rows, so they wait on the host for the last.
    void load_rows(const Device& device, int64_t out_begin, Matrix<const float> w) {
        require(seen_.max_abs.size() == seen_.channels.size(),
                "smooth-static needs the largest |X| of every channel, and those of ", shape().module,
                " come without max_abs; leave --outliers out, so that they are found anew");
        const int64_t rows = shape().out_features, cols = shape().in_features;
        waiting_.resize(static_cast<size_t>(rows * cols));
        const Matrix<float> all(waiting_.data(), rows, cols);
        const cpu::Device host = host_of(device);
        cpu::copy<float>(host, all.rows_at(out_begin, w.rows), w);
        if (out_begin + w.rows < rows) return;

        std::vector<float> xmax(static_cast<size_t>(cols)), wmax(xmax.size()), s(xmax.size());
        for (size_t j = 0; j < seen_.channels.size(); j++)
            xmax[static_cast<size_t>(seen_.channels[j])] = seen_.max_abs[j];
        column_maxima(host, wmax, all);
        cpu::smoothing_scales(host, s, xmax.data(), wmax.data(), alpha_);
#pragma omp parallel for num_threads(host.threads) schedule(static)
        for (int64_t o = 0; o < rows; o++)
            for (int64_t i = 0; i < cols; i++) all(o, i) *= s[static_cast<size_t>(i)];
        weight_.load_rows(device, 0, all);
        smoothing_.start(device);
        set_values<Device>(device, smoothing_.s, s);
        waiting_ = std::vector<float>();  // gives the memory back, as {} would not
    }

    OutlierColumns<T> prepare(const Device& device, const LinearInput<Device>& input, int64_t /*rank*/,
                              const PassInfo& /*pass*/, LinearWorkspace<Device>& workspace) {
        input.make_quantized(device,
                             weight_.input_rows(device, input.x.rows, shape().in_features, /*outliers=*/{}, workspace),
                             smoothing_.of_input());
        return {};
    }
    void multiply(const Device& device, Matrix<T> y, Matrix<const T> /*x*/, const T* bias, Matrix<const T> z,
                  Matrix<const T> wz, LinearWorkspace<Device>& workspace) {
        weight_.multiply(device, y, bias, z, wz, workspace);
    }
    void multiply_back(const Device& device, Matrix<T> dx, Matrix<const T> dy, const PassInfo& pass,
                       LinearWorkspace<Device>& workspace) {
        weight_.multiply_back(device, dx, dy, pass.grad_bits, workspace);
        divide_columns<T>(device, dx, smoothing_.s.data());
    }

  private:
    float alpha_;
    LayerOutliers seen_;  // by calibration
    Int8Matrix<Device> weight_;
    Smoothing<Device> smoothing_;
    std::vector<float> waiting_;  // W, until its last row is there
};

}  // namespace quaff
