// llm-int8: int8, and the channels that are large in this batch in the compute type. Dettmers et al. 2022, arXiv
// 2208.07339.
//
//   O      = { i : max_n |X[n,i]| > threshold }                  found anew in every pass
//   Xh     = X with channels O = 0,  Xq = round(Xh / dX)
//   Z      = [ dropout(X) A^T | X[:,O] ],  Wz = [ (alpha/r) B | dW Wq[:,O] ]
//
// W is kept in int8 alone, as it is where an int8 model is fine-tuned, and the columns of O are dequantised from it.
// All channels may be large at once, and memory is planned for that. The host must know O before the pass can go on.
#pragma once

#include <numeric>
#include <vector>

#include "quaff/files/method.h"
#include "quaff/model/int8_matrix.h"
#include "quaff/model/methods/method_weight.h"

namespace quaff {

template <class Device>
class LlmInt8Weight : public MethodWeight<Device> {
  public:
    using T = typename Device::compute_t;
    using MethodWeight<Device>::shape;

    LlmInt8Weight(const LinearShape& shape, const LinearMethod& method)
        : MethodWeight<Device>(shape), threshold_(method.int8_threshold) {}

    void layout(Arena<Device>& arena, const Device& device) {
        weight_.layout(arena, device, shape());
        arena.place(all_channels_, MemoryKind::weights, "channel numbers", shape().in_features);
    }
    void size_workspace(const Device& device, LinearWorkspaceSizes& sizes, int64_t n_tokens, bool training,
                        int grad_bits) const {
        weight_.size_workspace(device, shape(), sizes, n_tokens, training, grad_bits);
        raise_to(sizes.xmax, shape().in_features);
        raise_to(sizes.channels, shape().in_features);
    }
    void load_rows(const Device& device, int64_t out_begin, Matrix<const float> w) {
        weight_.load_rows(device, out_begin, w);
        if (out_begin > 0) return;
        fill_from_host(device, as_row(all_channels_),
                       [&](Matrix<int32_t> host) { std::iota(host.data, host.data + host.cols, 0); });
    }

    int64_t most_outliers() const { return shape().in_features; }

    OutlierColumns<T> prepare(const Device& device, const LinearInput<Device>& input, int64_t rank,
                              const PassInfo& /*pass*/, LinearWorkspace<Device>& workspace) {
        input.make_absmax(device, workspace.xmax.data(), all_channels_);
        find_large(host_view(device, as_row(workspace.xmax.first(all_channels_.size())), maxima_));
        const auto n = static_cast<int64_t>(large_.size());
        const std::span<int32_t> channels = workspace.channels.first(large_.size());
        upload(device, channels, large_);

        const int64_t n_tokens = input.x.rows;
        const Matrix<T> outliers = JointColumns{rank, n}.outlier_part(device, workspace.z, n_tokens);
        PlainInput<Device>{input.x}.make_quantized(
            device, weight_.input_rows(device, n_tokens, shape().in_features, outliers, workspace),
            {.channels = channels});
        // They go where the linear will have them, in Wz.
        const Matrix<T> columns =
            JointColumns{rank, n}.outlier_part(device, workspace.joint_weight, shape().out_features).columns(0, n);
        dequantize_columns(device, columns, weight_.q, weight_.scale.data(), channels);
        return {columns};
    }
    void multiply(const Device& device, Matrix<T> y, Matrix<const T> /*x*/, const T* bias, Matrix<const T> z,
                  Matrix<const T> wz, LinearWorkspace<Device>& workspace) {
        weight_.multiply(device, y, bias, z, wz, workspace);
    }
    void multiply_back(const Device& device, Matrix<T> dx, Matrix<const T> dy, const PassInfo& pass,
                       LinearWorkspace<Device>& workspace) {
        weight_.multiply_back(device, dx, dy, pass.grad_bits, workspace);
    }

  private:
    void find_large(Matrix<const float> maxima) {
        large_.clear();
        for (int64_t i = 0; i < maxima.cols; i++)
            if (maxima(0, i) > threshold_) large_.push_back(static_cast<int32_t>(i));
    }

    float threshold_;
    Int8Matrix<Device> weight_;
    std::span<int32_t> all_channels_;  // 0, 1, .. I-1
    std::vector<int32_t> large_;       // O; stays until the device has read it
    std::vector<float> maxima_;        // staging
};

}  // namespace quaff
