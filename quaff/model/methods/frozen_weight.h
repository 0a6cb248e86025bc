// The frozen weight W [O,I] of a linear, as a method keeps it, and the products with it. One method, or one family of
// them, is one file here:
//
//   full_precision.h    fp                            W as the model's file has it
//   outlier_channels.h  quaff, quaff-paper, naive     int8, a few channels scaled by momentum or split off
//   llm_int8.h          llm-int8                      int8, the channels that are large in this batch split off
//   smooth_static.h     smooth-static                 int8, all channels scaled by what calibration saw
//   smooth_dynamic.h    smooth-dynamic                the same, scaled by what this batch holds
//   four_bits.h         qlora                         NF4, dequantised for each product
//
// A linear with adapters (quantized_linear.h) calls, in this order:
//
//   prepare        makes x and what the method needs of it; says which outlier channels it takes out of the product
//   multiply       y = x W^T + bias + z wz^T, where z and wz join the adapters and those channels (lora.h)
//   multiply_back  dx = dy W
//
// What they write is written (=).
#pragma once

#include <utility>
#include <variant>

#include "quaff/model/methods/four_bits.h"
#include "quaff/model/methods/full_precision.h"
#include "quaff/model/methods/llm_int8.h"
#include "quaff/model/methods/outlier_channels.h"
#include "quaff/model/methods/smooth_dynamic.h"
#include "quaff/model/methods/smooth_static.h"

namespace quaff {

template <class Device>
class FrozenWeight {
  public:
    using T = typename Device::compute_t;

    FrozenWeight() = default;
    // outliers: none for a method that has none.
    FrozenWeight(const LinearShape& shape, const LinearMethod& method, LayerOutliers outliers)
        : weight_(make(shape, method, std::move(outliers))) {}

    void layout(Arena<Device>& arena, const Device& device) {
        std::visit([&](auto& weight) { weight.layout(arena, device); }, weight_);
    }
    // Raises `sizes` to what the passes need for `n_tokens` rows. grad_bits counts in training only.
    void size_workspace(const Device& device, LinearWorkspaceSizes& sizes, int64_t n_tokens, bool training,
                        int grad_bits) const {
        std::visit([&](const auto& weight) { weight.size_workspace(device, sizes, n_tokens, training, grad_bits); },
                   weight_);
    }
    // Rows out_begin, out_begin + 1, ... of W = `w` [rows, I], which is in host memory. Before the first pass the parts
    // cover [0, O) once, in order.
    void load_rows(const Device& device, int64_t out_begin, Matrix<const float> w) {
        std::visit([&](auto& weight) { weight.load_rows(device, out_begin, w); }, weight_);
    }

    // The most outlier channels that prepare() returns.
    int64_t most_outliers() const {
        return std::visit([](const auto& weight) { return weight.most_outliers(); }, weight_);
    }
    // Makes x, and in Z, behind the `rank` columns of adapters, those of the outlier channels (JointColumns).
    OutlierColumns<T> prepare(const Device& device, const LinearInput<Device>& input, int64_t rank,
                              const PassInfo& pass, LinearWorkspace<Device>& workspace) {
        return std::visit([&](auto& weight) { return weight.prepare(device, input, rank, pass, workspace); }, weight_);
    }
    // x is what prepare() made. bias [O] may be null; z and wz may have no columns.
    void multiply(const Device& device, Matrix<T> y, Matrix<const T> x, const T* bias, Matrix<const T> z,
                  Matrix<const T> wz, LinearWorkspace<Device>& workspace) {
        std::visit([&](auto& weight) { weight.multiply(device, y, x, bias, z, wz, workspace); }, weight_);
    }
    void multiply_back(const Device& device, Matrix<T> dx, Matrix<const T> dy, const PassInfo& pass,
                       LinearWorkspace<Device>& workspace) {
        std::visit([&](auto& weight) { weight.multiply_back(device, dx, dy, pass, workspace); }, weight_);
    }

    // Null: the method has none.
    MomentumScales<Device>* scales() {
        return std::visit([](auto& weight) { return weight.scales(); }, weight_);
    }
    const MomentumScales<Device>* scales() const {
        return std::visit([](const auto& weight) { return weight.scales(); }, weight_);
    }

    // Where the method chooses outlier channels; else null.
    OutlierChannelWeight<Device>* with_channels() { return std::get_if<OutlierChannelWeight<Device>>(&weight_); }

  private:
    using Weight = std::variant<FullPrecision<Device>, OutlierChannelWeight<Device>, LlmInt8Weight<Device>,
                                SmoothStaticWeight<Device>, SmoothDynamicWeight<Device>, FourBitWeight<Device>>;

    static Weight make(const LinearShape& shape, const LinearMethod& method, LayerOutliers outliers) {
        switch (method.weight) {
            case WeightKind::outlier_channels:
                return OutlierChannelWeight<Device>(shape, method, std::move(outliers));
            case WeightKind::llm_int8:
                return LlmInt8Weight<Device>(shape, method);
            case WeightKind::smooth_static:
                return SmoothStaticWeight<Device>(shape, method, std::move(outliers));
            case WeightKind::smooth_dynamic:
                return SmoothDynamicWeight<Device>(shape, method);
            case WeightKind::four_bits:
                return FourBitWeight<Device>(shape);
            case WeightKind::full_precision:
                break;
        }
        return FullPrecision<Device>(shape);
    }

    Weight weight_;
};

}  // namespace quaff
