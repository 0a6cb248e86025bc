// The table of embeddings and the head: matrices [V,C] that are read and never trained.
//
// On the CPU they keep the number format of the model's file (llmc/cpu/half_matrix.h); elsewhere they are in the
// compute type, which has 16 bits anyway.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "llmc/arena.h"
#include "llmc/cpu/half_matrix.h"
#include "quaff/checkpoint_reader.h"

namespace quaff {

using namespace llmc;

// As the tensors are called.
inline constexpr const char* kEmbedding = "model.embed_tokens.weight";
inline constexpr const char* kHead = "lm_head.weight";

template <class Device>
class Table {
  public:
    using T = typename Device::compute_t;

    // stored: what the file has. multiplied: whether it is the head, too.
    void layout(Arena<Device>& arena, const Device& device, const std::string& name, int64_t rows, int64_t cols,
                DType stored, bool multiplied) {
        if constexpr (Device::keeps_stored_types) {
            if (stored != DType::f32) {
                half_ = {stored, arena.template matrix<uint16_t>(MemoryKind::embeddings, name, rows, cols)};
                widened_ =
                    arena.template vector<float>(MemoryKind::workspace, name + ", widened rows",
                                                 multiplied ? half_gemm_workspace(device, stored, rows, cols) : 0);
                is_half_ = true;
                return;
            }
        }
        values_ = arena.template matrix<T>(MemoryKind::embeddings, name, rows, cols);
    }

    void load(const Device& device, const CheckpointReader& checkpoint, const std::string& tensor) {
        if constexpr (Device::keeps_stored_types) {
            if (is_half_) return load_half(checkpoint, tensor);
        }
        fill_from_host(device, values_, [&](Matrix<float> host) { checkpoint.read(tensor, host); });
    }

    // out [N,C] = the rows of the ids.
    void look_up(const Device& device, Matrix<T> out, std::span<const int32_t> ids) const {
        if constexpr (Device::keeps_stored_types) {
            if (is_half_) return half_embedding_forward(device, out, half_, ids);
        }
        embedding_forward<T>(device, out, values_, ids);
    }

    // y [N,V] = x [N,C] table^T
    void multiply(const Device& device, Matrix<T> y, Matrix<const T> x) const {
        if constexpr (Device::keeps_stored_types) {
            if (is_half_) return half_gemm_nt(device, y, x, half_, widened_);
        }
        gemm_nt<T>(device, y, x, values_, 1, 0);
    }

    // dx [N,C] = dy [N,V] table
    void multiply_back(const Device& device, Matrix<T> dx, Matrix<const T> dy) const {
        if constexpr (Device::keeps_stored_types) {
            if (is_half_) return half_gemm_nn(device, dx, dy, half_, widened_);
        }
        gemm_nn<T>(device, dx, dy, values_, 1, 0);
    }

  private:
    // Some rows at a time, so that no widened copy of the whole ever exists. Narrowing what was widened gives the same
    // bits back.
    void load_half(const CheckpointReader& checkpoint, const std::string& tensor) {
        constexpr int64_t kRows = 1024;
        const Matrix<uint16_t> bits = half_.bits;
        std::vector<float> staging(static_cast<size_t>(std::min(kRows, bits.rows) * bits.cols));
        for (int64_t row = 0; row < bits.rows; row += kRows) {
            const Matrix<float> rows(staging.data(), std::min(kRows, bits.rows - row), bits.cols);
            checkpoint.read_rows(tensor, bits.rows, row, rows);
            from_float(half_.dtype, rows.data, reinterpret_cast<std::byte*>(bits.row(row)), rows.size());
        }
    }

    Matrix<T> values_;
    cpu::HalfMatrix half_;
    std::span<float> widened_;
    bool is_half_ = false;
};

}  // namespace quaff
