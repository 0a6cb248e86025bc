// quaff, quaff-paper and naive: int8, with outlier channels that calibration found once. The method of the paper.
//
// Their columns of W are also kept as they are: Wo[o,j] = W[o, Oc[j]]. Wq has them, too (int8_matrix.h).
//
//   scaled   Xh = X with channel Oc[j] divided by s[j] (scales.h), Xq = round(Xh H / dX)
//            Z  = [ dropout(X) A^T | Xh[:,Oc] ],  Wz = [ (alpha/r) B | (s-1) Wo ]      what s W has and Wq has not
//   split    Xh = X with channel Oc[j] = 0,         Xq = round(Xh H / dX)
//            Z  = [ dropout(X) A^T | X[:,Oc] ],   Wz = [ (alpha/r) B | Wo ]            there is no s
//   naive    no outlier channels
//
// The rotation H is there or not. Backward contracts all of Wq in each of them. Huang and Wu 2025, arXiv 2505.14742;
// the split and the rotation are not theirs.
#pragma once

#include <cmath>
#include <utility>

#include "llmc/core/error.h"
#include "quaff/files/method.h"
#include "quaff/model/int8_matrix.h"
#include "quaff/model/methods/method_weight.h"

namespace quaff {

template <class Device>
class OutlierChannelWeight : public MethodWeight<Device> {
  public:
    using T = typename Device::compute_t;
    using MethodWeight<Device>::shape;

    OutlierChannelWeight(const LinearShape& shape, const LinearMethod& method, LayerOutliers outliers)
        : MethodWeight<Device>(shape), method_(method), outliers_(std::move(outliers)) {
        if (method.rotation) weight_.rotation = hadamard_block(shape.in_features);
    }

    void layout(Arena<Device>& arena, const Device& device) {
        weight_.layout(arena, device, shape());
        arena.place(columns_, MemoryKind::outlier_rows, "outlier_weight", shape().out_features, n());
        arena.place(channels_, MemoryKind::outlier_rows, "outlier_channels", n());
        scales_.layout(arena, method_.has_scales() ? n() : 0, *method_.scale_strength);
    }
    void size_workspace(const Device& device, LinearWorkspaceSizes& sizes, int64_t n_tokens, bool training,
                        int grad_bits) const {
        weight_.size_workspace(device, shape(), sizes, n_tokens, training, grad_bits);
        raise_to(sizes.xmax, method_.has_scales() ? n() : 0);
    }

    void load_rows(const Device& device, int64_t out_begin, Matrix<const float> w) {
        weight_.load_rows(device, out_begin, w);
        load_outlier_rows(device, out_begin, w);
    }

    const std::vector<int32_t>& channels() const { return outliers_.channels; }
    // As many others. load_outlier_rows() of all rows, in order, must follow.
    void replace(LayerOutliers outliers) { outliers_ = std::move(outliers); }
    void load_outlier_rows(const Device& device, int64_t out_begin, Matrix<const float> w) {
        if (n() == 0) return;
        if (out_begin == 0) wmax_.assign(static_cast<size_t>(n()), 0.0f);
        fill_from_host(device, columns_.rows_at(out_begin, w.rows), [&](Matrix<float> columns) {
            for (int64_t j = 0; j < n(); j++) {
                for (int64_t o = 0; o < w.rows; o++) {
                    const float value = w(o, outliers_.channels[j]);
                    columns(o, j) = value;
                    wmax_[j] = std::max(wmax_[j], std::abs(value));
                }
            }
        });
        if (out_begin + w.rows < shape().out_features) return;
        upload(device, channels_, outliers_.channels);
        if (method_.has_scales()) scales_.start(device, wmax_, outliers_.max_abs);
    }

    int64_t most_outliers() const { return n(); }

    // While training the maxima of x move s before x is quantised.
    OutlierColumns<T> prepare(const Device& device, const LinearInput<Device>& input, int64_t rank,
                              const PassInfo& pass, LinearWorkspace<Device>& workspace) {
        const int64_t n_tokens = input.x.rows;
        const Matrix<T> outliers = JointColumns{rank, n()}.outlier_part(device, workspace.z, n_tokens);
        const QuantizedRows<T> rows = weight_.input_rows(device, n_tokens, shape().in_features, outliers, workspace);
        const float* s = method_.has_scales() ? scales_.s.data() : nullptr;
        const RowTransform transform{channels_, s, weight_.rotation};
        if (pass.mode == Mode::train && !scales_.s.empty()) {
            input.make_absmax(device, workspace.xmax.data(), channels_);
            scales_.move(device, pass.scale_momentum, workspace);
            PlainInput<Device>{input.x}.make_quantized(device, rows, transform);
        } else {
            input.make_quantized(device, rows, transform);
        }
        return {columns_, s};
    }
    void multiply(const Device& device, Matrix<T> y, Matrix<const T> /*x*/, const T* bias, Matrix<const T> z,
                  Matrix<const T> wz, LinearWorkspace<Device>& workspace) {
        weight_.multiply(device, y, bias, z, wz, workspace);
    }
    void multiply_back(const Device& device, Matrix<T> dx, Matrix<const T> dy, const PassInfo& pass,
                       LinearWorkspace<Device>& workspace) {
        weight_.multiply_back(device, dx, dy, pass.grad_bits, workspace);
    }

    MomentumScales<Device>* scales() { return method_.has_scales() ? &scales_ : nullptr; }
    const MomentumScales<Device>* scales() const { return method_.has_scales() ? &scales_ : nullptr; }

  private:
    int64_t n() const { return static_cast<int64_t>(outliers_.channels.size()); }

    LinearMethod method_;
    LayerOutliers outliers_;
    Int8Matrix<Device> weight_;
    Matrix<T> columns_;            // Wo [O,n]
    std::span<int32_t> channels_;  // Oc, on the device [n]
    std::vector<float> wmax_;      // of the rows loaded so far [n]
    MomentumScales<Device> scales_;
};

}  // namespace quaff
