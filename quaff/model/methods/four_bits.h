// qlora: W in four bits (NF4, llmc/core/nf4.h), dequantised to the compute type for each product. Dettmers et al. 2023,
// arXiv 2305.14314.
//
//   Y = X D(Wq)^T + bias + Z Wz^T,  dX = dY D(Wq)
#pragma once

#include <vector>

#include "llmc/core/nf4.h"
#include "llmc/cpu/nf4.h"
#include "llmc/cpu/rows.h"
#include "quaff/model/methods/method_weight.h"

namespace quaff {

template <class Device>
class FourBitWeight : public MethodWeight<Device> {
  public:
    using T = typename Device::compute_t;
    using MethodWeight<Device>::MethodWeight;
    using MethodWeight<Device>::shape;

    void layout(Arena<Device>& arena, const Device& /*device*/) {
        const int64_t rows = shape().out_features, blocks = rows * nf4_blocks(shape().in_features);
        arena.place(codes_, MemoryKind::weights, "weight", rows, nf4_bytes(shape().in_features));
        arena.place(absmax_, MemoryKind::weights, "absmax", blocks);
        arena.place(group_scale_, MemoryKind::weights, "absmax_scale", nf4_groups(blocks));
    }
    void size_workspace(const Device& device, LinearWorkspaceSizes& sizes, int64_t /*n_tokens*/, bool /*training*/,
                        int /*grad_bits*/) const {
        raise_to(sizes.dequantized, nf4_gemm_workspace(device, shape().out_features, shape().in_features));
    }
    // The maxima of the blocks are quantised when all are known, so they wait on the host.
    void load_rows(const Device& device, int64_t out_begin, Matrix<const float> w) {
        const int64_t in_row = nf4_blocks(w.cols);
        maxima_.resize(absmax_.size());
        fill_from_host(device, codes_.rows_at(out_begin, w.rows), [&](Matrix<uint8_t> codes) {
            cpu::quantize_nf4(host_of(device), codes, maxima_.data() + out_begin * in_row, w);
        });
        if (out_begin + w.rows < shape().out_features) return;
        fill_from_host(device, as_row(absmax_), [&](Matrix<uint8_t> absmax) {
            fill_from_host(device, as_row(group_scale_), [&](Matrix<float> scale) {
                mean_ =
                    cpu::quantize_nf4_maxima({absmax.data, absmax_.size()}, {scale.data, group_scale_.size()}, maxima_);
            });
        });
        maxima_ = std::vector<float>();  // gives the memory back, as {} would not
    }

    OutlierColumns<T> prepare(const Device& device, const LinearInput<Device>& input, int64_t /*rank*/,
                              const PassInfo& /*pass*/, LinearWorkspace<Device>& /*workspace*/) {
        input.make(device);
        return {};
    }
    void multiply(const Device& device, Matrix<T> y, Matrix<const T> x, const T* bias, Matrix<const T> z,
                  Matrix<const T> wz, LinearWorkspace<Device>& workspace) {
        if (bias) fill_rows<T>(device, y, bias);
        nf4_gemm_nt<T>(device, y, x, weight(), bias ? 1 : 0, workspace.dequantized);
        if (z.cols > 0) gemm_nt<T>(device, y, z, wz, 1, 1);
    }
    void multiply_back(const Device& device, Matrix<T> dx, Matrix<const T> dy, const PassInfo& /*pass*/,
                       LinearWorkspace<Device>& workspace) {
        nf4_gemm_nn<T>(device, dx, dy, weight(), workspace.dequantized);
    }

  private:
    Nf4Matrix weight() const { return {codes_, shape().in_features, absmax_.data(), group_scale_.data(), mean_}; }

    Matrix<uint8_t> codes_;         // [O, nf4_bytes(I)]
    std::span<uint8_t> absmax_;     // of the blocks, 8 bits each
    std::span<float> group_scale_;  // of groups of absmax_
    float mean_ = 0;                // of the blocks' maxima
    std::vector<float> maxima_;     // of the blocks, until all are there
};

}  // namespace quaff
