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

#include <span>
#include <vector>

#include "quaff/model/linear_input.h"
#include "quaff/model/linear_workspace.h"
#include "quaff/model/methods/momentum_scales.h"

namespace quaff {

// The outlier channels of a layer, in host memory.
struct LayerOutliers {
    std::vector<int32_t> channels;  // ascending
    std::vector<float> max_abs;     // the largest |X| that calibration saw in each; empty if it is not known
};

// What outlier channels add to Y: Z's columns times these of W, each multiplied by s - 1; by 1 where s is null.
template <class T>
struct OutlierColumns {
    Matrix<const T> weight;  // [O,n], on the device
    const float* s = nullptr;
};

template <class Device>
class FrozenWeight {
  public:
    using T = typename Device::compute_t;

    explicit FrozenWeight(const LinearShape& shape) : shape_(shape) {}
    FrozenWeight(const FrozenWeight&) = delete;
    FrozenWeight& operator=(const FrozenWeight&) = delete;
    virtual ~FrozenWeight() = default;

    virtual void layout(Arena<Device>& arena, const Device& device) = 0;
    // Raises `sizes` to what the passes need for `n_tokens` rows. grad_bits counts in training only.
    virtual void size_workspace(const Device& device, LinearWorkspaceSizes& sizes, int64_t n_tokens, bool training,
                                int grad_bits) const = 0;
    // Rows out_begin, out_begin + 1, ... of W = `w` [rows, I], which is in host memory. Before the first pass the parts
    // cover [0, O) once, in order.
    virtual void load_rows(const Device& device, int64_t out_begin, Matrix<const float> w) = 0;

    // The most outlier channels that prepare() returns.
    virtual int64_t most_outliers() const { return 0; }
    // Makes x, and in Z, behind the `rank` columns of adapters, those of the outlier channels (JointColumns).
    virtual OutlierColumns<T> prepare(const Device& device, const LinearInput<Device>& input, int64_t rank,
                                      const PassInfo& pass, LinearWorkspace<Device>& workspace) = 0;
    // x is what prepare() made. bias [O] may be null; z and wz may have no columns.
    virtual void multiply(const Device& device, Matrix<T> y, Matrix<const T> x, const T* bias, Matrix<const T> z,
                          Matrix<const T> wz, LinearWorkspace<Device>& workspace) = 0;
    virtual void multiply_back(const Device& device, Matrix<T> dx, Matrix<const T> dy, const PassInfo& pass,
                               LinearWorkspace<Device>& workspace) = 0;

    // Null: the method has none.
    virtual MomentumScales<Device>* scales() { return nullptr; }
    const MomentumScales<Device>* scales() const { return const_cast<FrozenWeight*>(this)->scales(); }

    const LinearShape& shape() const { return shape_; }

  private:
    LinearShape shape_;
};

}  // namespace quaff
