// fp: W as the model's file has it, or in the compute type (frozen_matrix.h).
#pragma once

#include "llmc/cpu/rows.h"
#include "quaff/model/frozen_matrix.h"
#include "quaff/model/methods/method_weight.h"

namespace quaff {

template <class Device>
class FullPrecision : public MethodWeight<Device> {
  public:
    using T = typename Device::compute_t;
    using MethodWeight<Device>::MethodWeight;
    using MethodWeight<Device>::shape;

    void layout(Arena<Device>& arena, const Device& /*device*/) {
        weight_.layout(arena, MemoryKind::weights, "weight", shape().out_features, shape().in_features, shape().stored);
    }
    void size_workspace(const Device& device, LinearWorkspaceSizes& sizes, int64_t /*n_tokens*/, bool /*training*/,
                        int /*grad_bits*/) const {
        raise_to(sizes.widened, weight_.workspace(device, shape().out_features, shape().in_features, shape().stored));
    }
    void load_rows(const Device& device, int64_t out_begin, Matrix<const float> w) {
        weight_.load_rows(device, out_begin, w);
    }

    OutlierColumns<T> prepare(const Device& device, const LinearInput<Device>& input, int64_t /*rank*/,
                              const PassInfo& /*pass*/, LinearWorkspace<Device>& /*workspace*/) {
        input.make(device);
        return {};
    }
    void multiply(const Device& device, Matrix<T> y, Matrix<const T> x, const T* bias, Matrix<const T> z,
                  Matrix<const T> wz, LinearWorkspace<Device>& workspace) {
        if (bias) fill_rows<T>(device, y, bias);
        weight_.multiply(device, y, x, bias ? 1 : 0, workspace.widened);
        if (z.cols > 0) gemm_nt<T>(device, y, z, wz, 1, 1);
    }
    void multiply_back(const Device& device, Matrix<T> dx, Matrix<const T> dy, const PassInfo& /*pass*/,
                       LinearWorkspace<Device>& workspace) {
        weight_.multiply_back(device, dx, dy, workspace.widened);
    }

  private:
    FrozenMatrix<Device> weight_;
};

}  // namespace quaff
