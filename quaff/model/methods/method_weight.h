// What the methods' weights share (frozen_weight.h).
#pragma once

#include <utility>
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

// What outlier channels add to Y: Z's columns times these of W, each multiplied by s - 1; by 1 where s is null. The
// columns may lie in Wz already.
template <class T>
struct OutlierColumns {
    Matrix<const T> weight;  // [O,n], on the device
    const float* s = nullptr;
};

// A weight of some shape, without outlier channels and without scales that training moves.
template <class Device>
class MethodWeight {
  public:
    MethodWeight() = default;
    explicit MethodWeight(LinearShape shape) : shape_(std::move(shape)) {}

    const LinearShape& shape() const { return shape_; }
    int64_t most_outliers() const { return 0; }
    MomentumScales<Device>* scales() { return nullptr; }
    const MomentumScales<Device>* scales() const { return nullptr; }

  private:
    LinearShape shape_;
};

}  // namespace quaff
