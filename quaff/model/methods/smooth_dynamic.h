// smooth-dynamic: as smooth-static, with the maxima of X of every batch instead of the calibration's.
//
//   s[i] = max_n |X[n,i]|^a / max_o |W[o,i]|^(1-a)          of this batch
//
// Wq follows s. So W stays in full precision and is quantised anew in every pass, forward and backward: that is what
// the method costs. Backward takes the s of the forward pass before it. SmoothQuant: Xiao et al. 2023, arXiv
// 2211.10438.
#pragma once

#include <vector>

#include "llmc/cpu/rows.h"
#include "quaff/files/method.h"
#include "quaff/model/frozen_matrix.h"
#include "quaff/model/int8_matrix.h"
#include "quaff/model/methods/method_weight.h"
#include "quaff/model/methods/smoothing.h"

namespace quaff {

template <class Device>
class SmoothDynamicWeight : public MethodWeight<Device> {
  public:
    using T = typename Device::compute_t;
    using MethodWeight<Device>::shape;

    SmoothDynamicWeight(const LinearShape& shape, const LinearMethod& method)
        : MethodWeight<Device>(shape), alpha_(method.smooth_alpha) {}

    void layout(Arena<Device>& arena, const Device& /*device*/) {
        weight_.layout(arena, MemoryKind::weights, "weight", shape().out_features, shape().in_features, shape().stored);
        smoothing_.layout(arena, shape().in_features);
        arena.place(wmax_, MemoryKind::weights, "wmax", shape().in_features);
    }
    void size_workspace(const Device& device, LinearWorkspaceSizes& sizes, int64_t n_tokens, bool training,
                        int grad_bits) const {
        Int8Matrix<Device>::size_workspace(device, shape(), sizes, n_tokens, training, grad_bits);
        raise_to(sizes.xmax, shape().in_features);
        raise_to(sizes.weight_q,
                 padded_features(device, shape().out_features) * padded_features(device, shape().in_features));
        raise_to(sizes.weight_scale, shape().out_features);
        raise_to(sizes.widened, weight_.rows_workspace(shape().out_features, shape().in_features, shape().stored));
    }
    void load_rows(const Device& device, int64_t out_begin, Matrix<const float> w) {
        weight_.load_rows(device, out_begin, w);
        host_wmax_.resize(static_cast<size_t>(shape().in_features));
        column_maxima(host_of(device), host_wmax_, w);
        if (out_begin + w.rows < shape().out_features) return;
        set_values<Device>(device, wmax_, host_wmax_);
        host_wmax_ = std::vector<float>();
        smoothing_.start(device);
    }

    OutlierColumns<T> prepare(const Device& device, const LinearInput<Device>& input, int64_t /*rank*/,
                              const PassInfo& /*pass*/, LinearWorkspace<Device>& workspace) {
        input.make_absmax(device, workspace.xmax.data(), smoothing_.channels);
        smoothing_scales(device, smoothing_.s, workspace.xmax.data(), wmax_.data(), alpha_);
        PlainInput<Device>{input.x}.make_quantized(
            device,
            Int8Matrix<Device>::input_rows(device, input.x.rows, shape().in_features, /*outliers=*/{}, workspace),
            smoothing_.of_input());
        return {};
    }
    void multiply(const Device& device, Matrix<T> y, Matrix<const T> /*x*/, const T* bias, Matrix<const T> z,
                  Matrix<const T> wz, LinearWorkspace<Device>& workspace) {
        quantized(device, workspace).multiply(device, y, bias, z, wz, workspace);
    }
    void multiply_back(const Device& device, Matrix<T> dx, Matrix<const T> dy, const PassInfo& pass,
                       LinearWorkspace<Device>& workspace) {
        quantized(device, workspace).multiply_back(device, dx, dy, pass.grad_bits, workspace);
        divide_columns<T>(device, dx, smoothing_.s.data());
    }

  private:
    // W diag(s), quantised into the workspace. Rows of a gradient are quantised by the same rule, with the same factor
    // for each column.
    Int8Matrix<Device> quantized(const Device& device, LinearWorkspace<Device>& workspace) const {
        const int64_t rows = shape().out_features, cols = shape().in_features;
        Int8Matrix<Device> wq{.q = Matrix<int8_t>(workspace.weight_q.data(), padded_features(device, rows), cols,
                                                  padded_features(device, cols)),
                              .scale = workspace.weight_scale.first(static_cast<size_t>(rows)),
                              .out_features = rows};
        weight_.for_each_rows(device, workspace.widened, [&](int64_t begin, Matrix<const T> w) {
            const int64_t end = begin + w.rows == rows ? wq.q.rows : begin + w.rows;  // the padding, too
            quantize_gradient_rows(device, wq.q.rows_at(begin, end - begin), wq.scale.data() + begin, w,
                                   smoothing_.s.data());
        });
        return wq;
    }

    float alpha_;
    FrozenMatrix<Device> weight_;
    Smoothing<Device> smoothing_;
    std::span<float> wmax_;         // max_o |W[o,i]| [I]
    std::vector<float> host_wmax_;  // of the rows loaded so far
};

}  // namespace quaff
