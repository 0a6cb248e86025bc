// A frozen linear layer with LoRA adapters on it, forward and backward.
//
//   Y  = X W^T + bias + Z Wz^T          W as the method keeps and multiplies it (methods/)
//   Z  = [ dropout(X) A^T | .. ],  Wz = [ (alpha/r) B | .. ]      adapters, and outlier channels of the method (lora.h)
//
//   dX = dY W                           as the method multiplies it
//   dZ = (alpha/r) dY B,  dA += dZ^T dropout(X),  dB += (alpha/r) dY^T (dropout(X) A^T)
//   dX += mask/(1-p) (dZ A)
//
// Each adapter has an alpha/r of its own, and there may be none. Y and dX are written (=), dA and dB accumulated (+=).
// Hu et al. 2021, arXiv 2106.09685. The method of the paper, outlier channels by momentum scaling, is
// methods/outlier_channels.h with int8_matrix.h.
#pragma once

#include <utility>
#include <vector>

#include "llmc/core/arena.h"
#include "llmc/core/operator_options.h"
#include "llmc/cpu/rows.h"
#include "quaff/files/method.h"
#include "quaff/model/channel_statistics.h"
#include "quaff/model/linear_input.h"
#include "quaff/model/linear_workspace.h"
#include "quaff/model/lora.h"
#include "quaff/model/methods/frozen_weight.h"
#include "quaff/model/outlier_tracker.h"

namespace quaff {

template <class Device>
class QuantizedLinear {
  public:
    using T = typename Device::compute_t;

    LinearShape shape;
    uint32_t id = 0;  // distinct in the model: names the layer's dropout stream

    // Frozen.
    FrozenWeight<Device> weight;
    std::span<T> bias;  // [O], or empty

    // Set by calibration only: what gathers the inputs, and a buffer for those that must be copied to the host.
    ChannelStatistics* statistics = nullptr;
    std::vector<float>* observed = nullptr;
    // Set by a training run that follows the outlier channels of its batches.
    OutlierTracker* tracker = nullptr;

    // What is trained.
    std::vector<LoraAdapter> adapters;
    Matrix<float> lora_a, lora_da;  // the adapters' A stacked [R,I], and its gradient
    // lora_a and the adapters' B as the passes compute with them: rounded copies, or the same memory where T is float.
    Matrix<T> compute_a;
    std::vector<Matrix<T>> compute_b;

    int64_t rank() const { return lora_a.rows; }
    // outliers: none for a method that has none.
    void configure(const LinearShape& its_shape, uint32_t its_id, const LinearMethod& method, LayerOutliers outliers) {
        shape = its_shape;
        id = its_id;
        weight = FrozenWeight<Device>(shape, method, std::move(outliers));
    }

    void layout(Arena<Device>& arena, const Device& device) {
        const ArenaScope scope(arena, shape.module);
        weight.layout(arena, device);
        arena.place(bias, MemoryKind::weights, "bias", shape.has_bias ? shape.out_features : 0);
    }

    // Raises `sizes` to what this layer needs for `n_tokens` rows. `dropout` and `grad_bits` count in training only.
    void size_workspace(const Device& device, LinearWorkspaceSizes& sizes, int64_t n_tokens, bool training,
                        float dropout, int grad_bits) const {
        const JointColumns columns{rank(), weight.most_outliers()};
        raise_to(sizes.z, n_tokens * columns.stride());
        raise_to(sizes.joint_weight, shape.out_features * columns.stride());
        if (training && rank() > 0)
            raise_to(sizes.lora, lora_down_workspace(device, n_tokens, shape.in_features, rank(), dropout));
        weight.size_workspace(device, sizes, n_tokens, training, grad_bits);
    }

    // y [N,O] =, of the x that `input` makes first (linear_input.h). `saved_z` [N,R] = dropout(X) A^T, unless the pass
    // is an evaluation; then it may be empty.
    void forward(const Device& device, Matrix<T> y, const LinearInput<Device>& input, Matrix<T> saved_z,
                 const PassInfo& pass, LinearWorkspace<Device>& workspace) {
        const Matrix<const T> x = input.x;
        const int64_t r = rank();
        const OutlierColumns<T> outliers = weight.prepare(device, input, r, pass, workspace);
        if (statistics) statistics->observe(host_view(device, x, *observed), host_of(device).threads);
        if (tracker && pass.mode == Mode::train)
            tracker->observe(device, x, weight.scales() ? weight.scales()->s : std::span<float>());

        // Z = [ dropout(X) A^T | .. ],  Wz = [ (alpha/r) B | .. ]
        const JointColumns columns{r, outliers.weight.cols};
        const Matrix<T> z = columns.matrix(device, workspace.z, x.rows);
        const Matrix<T> wz = columns.matrix(device, workspace.joint_weight, shape.out_features);
        if (r > 0) {
            lora_down<T>(device, z.columns(0, r), x, compute_a, dropout(pass), workspace.lora);
            if (pass.mode != Mode::evaluate) copy<T>(device, saved_z, z.columns(0, r));
        }
        if (z.cols > 0) joint_weight(device, wz, adapters, outliers.weight, outliers.s);

        // Y = X W^T + bias + Z Wz^T
        weight.multiply(device, y, x, shape.has_bias ? bias.data() : nullptr, z, wz, workspace);
    }

    // dx [N,I] = unless its data is null (nothing below is trained); da and db of the adapters +=.
    // x and saved_z are those of the forward pass.
    void backward(const Device& device, Matrix<T> dx, Matrix<const T> dy, Matrix<const T> x, Matrix<const T> saved_z,
                  const PassInfo& pass, LinearWorkspace<Device>& workspace) {
        const bool wants_dx = dx.data != nullptr;
        if (wants_dx) weight.multiply_back(device, dx, dy, pass, workspace);
        if (rank() == 0) return;

        // dZ = (alpha/r) dY B,  dB += (alpha/r) dY^T (dropout(X) A^T)
        Matrix<T> dz(workspace.z.data(), dy.rows, rank());
        int64_t column = 0;
        for (size_t p = 0; p < adapters.size(); p++) {
            LoraAdapter& adapter = adapters[p];
            const int64_t r = adapter.b.cols;
            const Matrix<const T> dy_p = dy.columns(adapter.out_begin, adapter.b.rows);
            gemm_nn<T>(device, dz.columns(column, r), dy_p, compute_b[p], adapter.scaling, 0);
            gemm_tn<T>(device, adapter.db, dy_p, saved_z.columns(column, r), adapter.scaling, 1);
            column += r;
        }
        // dA += dZ^T dropout(X),  dX += mask/(1-p) (dZ A)
        lora_down_da<T>(device, lora_da, dz, x, dropout(pass), workspace.lora);
        if (wants_dx) lora_down_dx<T>(device, dx, dz, compute_a, dropout(pass), workspace.lora);
    }

  private:
    Dropout dropout(const PassInfo& pass) const {
        return {pass.mode == Mode::evaluate ? 0 : pass.dropout, {pass.seed, pass.micro_batch, id}};
    }
};

}  // namespace quaff
