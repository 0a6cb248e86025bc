// A matrix [rows, cols] that is read and never trained: the embedding table, the head, and the weights of the
// linears of methods that need them in full.
//
// On the CPU, what the model's file has in 16 bits stays as it is (llmc/cpu/gemm/half_matrix.h). Everything else is in
// the compute type, which on a GPU has 16 bits anyway.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "llmc/core/arena.h"
#include "llmc/cpu/gemm/half_matrix.h"
#include "llmc/cpu/rows.h"
#include "quaff/files/model_files.h"
#include "quaff/model/memory_kinds.h"

namespace quaff {

using namespace llmc;

template <class Device>
class FrozenMatrix {
  public:
    using T = typename Device::compute_t;

    // stored: the type in the model's file.
    void layout(Arena<Device>& arena, MemoryKind kind, const std::string& name, int64_t rows, int64_t cols,
                DType stored) {
        if constexpr (Device::keeps_stored_types) {
            is_half_ = stored != DType::f32;
            if (is_half_) {
                half_.dtype = stored;
                arena.place(half_.bits, kind, name, rows, cols);
                return;
            }
        }
        arena.place(values_, kind, name, rows, cols);
    }

    // Elements of the workspace that the products below need.
    static int64_t workspace(const Device& device, int64_t rows, int64_t cols, DType stored) {
        if constexpr (Device::keeps_stored_types) {
            if (stored != DType::f32) return half_gemm_workspace(device, stored, rows, cols);
        }
        return 0;
    }

    // Rows begin, begin + 1, ... = `rows`, which is in host memory. Narrowing what was widened gives the file's bits.
    void load_rows(const Device& device, int64_t begin, Matrix<const float> rows) {
        if constexpr (Device::keeps_stored_types) {
            if (is_half_) {
#pragma omp parallel for num_threads(device.threads) schedule(static)
                for (int64_t i = 0; i < rows.rows; i++)
                    from_float(half_.dtype, rows.row(i), reinterpret_cast<std::byte*>(half_.bits.row(begin + i)),
                               rows.cols);
                return;
            }
        }
        fill_from_host(device, values_.rows_at(begin, rows.rows),
                       [&](Matrix<float> host) { cpu::copy<float>(host_of(device), host, rows); });
    }

    // All rows = the tensor of the checkpoint. Rows that are narrowed come a few at a time: no widened copy of the
    // whole ever exists.
    void load(const Device& device, const ModelFiles& checkpoint, const std::string& tensor) {
        if constexpr (Device::keeps_stored_types) {
            if (is_half_) {
                constexpr int64_t kRows = 1024;
                const int64_t all = half_.bits.rows, cols = half_.bits.cols;
                std::vector<float> staging(static_cast<size_t>(std::min(kRows, all) * cols));
                for (int64_t row = 0; row < all; row += kRows) {
                    const Matrix<float> rows(staging.data(), std::min(kRows, all - row), cols);
                    checkpoint.read_rows(tensor, all, row, rows);
                    load_rows(device, row, rows);
                }
                return;
            }
        }
        fill_from_host(device, values_, [&](Matrix<float> host) { checkpoint.read(tensor, host); });
    }

    // Elements of the workspace that for_each_rows() needs.
    static int64_t rows_workspace(int64_t rows, int64_t cols, DType stored) {
        return Device::keeps_stored_types && stored != DType::f32 ? std::min(kRowsAtOnce, rows) * cols : 0;
    }
    // use(begin, rows) for rows begin, begin + 1, ... [n, cols] in the compute type, from the first to the last.
    template <class Use>
    void for_each_rows(const Device& device, std::span<T> workspace, const Use& use) const {
        if constexpr (Device::keeps_stored_types) {
            if (is_half_) {
                for (int64_t begin = 0; begin < half_.rows(); begin += kRowsAtOnce) {
                    const Matrix<T> rows(workspace.data(), std::min(kRowsAtOnce, half_.rows() - begin), half_.cols());
#pragma omp parallel for num_threads(device.threads) schedule(static)
                    for (int64_t i = 0; i < rows.rows; i++) half_.widen(begin + i, 0, rows.row(i), rows.cols);
                    use(begin, Matrix<const T>(rows));
                }
                return;
            }
        }
        use(0, Matrix<const T>(values_));
    }

    // out[n, :] = W[ids[n], :]
    void look_up(const Device& device, Matrix<T> out, std::span<const int32_t> ids) const {
        if constexpr (Device::keeps_stored_types) {
            if (is_half_) return half_embedding_forward(device, out, half_, ids);
        }
        embedding_forward<T>(device, out, values_, ids);
    }

    // y [N, rows] = x [N, cols] W^T + beta y
    void multiply(const Device& device, Matrix<T> y, Matrix<const T> x, float beta, std::span<T> workspace) const {
        if constexpr (Device::keeps_stored_types) {
            if (is_half_) return half_gemm_nt(device, y, x, half_, beta, workspace);
        }
        gemm_nt<T>(device, y, x, values_, 1, beta);
    }

    // dx [N, cols] = dy [N, rows] W
    void multiply_back(const Device& device, Matrix<T> dx, Matrix<const T> dy, std::span<T> workspace) const {
        if constexpr (Device::keeps_stored_types) {
            if (is_half_) return half_gemm_nn(device, dx, dy, half_, workspace);
        }
        gemm_nn<T>(device, dx, dy, values_, 1, 0);
    }

  private:
    static constexpr int64_t kRowsAtOnce = 256;

    Matrix<T> values_;
    cpu::HalfMatrix half_;
    bool is_half_ = false;
};

}  // namespace quaff
