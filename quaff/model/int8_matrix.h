// A frozen weight W [O,I] in int8, quantised per output row, and the two products with it:
//
//   Wh = W H,  dW[o] = max_i |Wh[o,i]| / 127,  Wq = round(Wh / dW)        H: llmc/core/hadamard.h, or the identity
//
//   multiply        Y  = dX[n] dW[o] (Xq Wq^T) + bias + Z Wz^T             int8 x int8 -> int32, dequantised
//   multiply_back   G  = dY dW[o],  Gq = round(G / dG),  dG[n] = max_o |G[n,o]| / 127
//                   dX = (dG[n] (Gq Wq)) H                                 straight through the rounding
//
// With 16 gradient bits dX = (dY dW Wq) H, in the compute type. Y and dX are written (=). Huang and Wu 2025, arXiv
// 2505.14742.
#pragma once

#include <algorithm>
#include <span>

#include "llmc/core/hadamard.h"
#include "llmc/cpu/quantize.h"
#include "quaff/model/linear_workspace.h"

namespace quaff {

template <class Device>
struct Int8Matrix {
    using T = typename Device::compute_t;

    Matrix<int8_t> q;        // Wq [O,I], padded by rows and stride as the device's int8 GEMM wants
    std::span<float> scale;  // dW [O]
    int64_t out_features = 0;
    int64_t rotation = 0;  // side of the blocks of H; 0: no rotation

    void layout(Arena<Device>& arena, const Device& device, const LinearShape& shape) {
        out_features = shape.out_features;
        arena.place(q, MemoryKind::int8_weights, "weight", padded_features(device, shape.out_features),
                    padded_features(device, shape.in_features));
        q.cols = shape.in_features;
        arena.place(scale, MemoryKind::weights, "weight_scale", shape.out_features);
    }

    // What the products with a W of this shape need for `n_tokens` rows.
    static void size_workspace(const Device& device, const LinearShape& shape, LinearWorkspaceSizes& sizes,
                               int64_t n_tokens, bool training, int grad_bits) {
        const bool int8_backward = training && grad_bits == 8;
        const int64_t in_stride = padded_features(device, shape.in_features),
                      out_stride = padded_features(device, shape.out_features);
        raise_to(sizes.quantized,
                 padded_tokens(device, n_tokens) * (int8_backward ? std::max(in_stride, out_stride) : in_stride));
        raise_to(sizes.row_scale, n_tokens);
        raise_to(sizes.tile, int8_backward ? int8_gemm_nn_workspace(device, shape.out_features, shape.in_features)
                                           : int8_gemm_workspace(device));
        if (training && grad_bits == 16)
            raise_to(sizes.dequantized, dequantized_gemm_workspace(device, shape.out_features, shape.in_features));
    }

    // Rows out_begin, out_begin + 1, ... = those of `w` [rows, I], which is in host memory, quantised.
    void load_rows(const Device& device, int64_t out_begin, Matrix<const float> w) {
        const Matrix<float> scales(scale.data() + out_begin, 1, w.rows);
        fill_from_host(device, q.rows_at(out_begin, w.rows), [&](Matrix<int8_t> rows) {
            fill_from_host(device, scales, [&](Matrix<float> row_scales) {
                cpu::quantize_weight(host_of(device), rows, row_scales.data, w, rotation);
            });
        });
    }

    // Where the int8 rows of an input of n tokens go: to the workspace, and with their `outliers` to Z.
    static QuantizedRows<T> input_rows(const Device& device, int64_t n_tokens, int64_t in_features, Matrix<T> outliers,
                                       LinearWorkspace<Device>& workspace) {
        return {quantized(device, n_tokens, in_features, workspace), workspace.row_scale.data(), outliers};
    }

    // y [N,O] = the product with the rows that input_rows() holds. bias [O] may be null.
    void multiply(const Device& device, Matrix<T> y, const T* bias, Matrix<const T> z, Matrix<const T> wz,
                  LinearWorkspace<Device>& workspace) const {
        int8_gemm_nt(device, y, quantized(device, y.rows, q.cols, workspace), workspace.row_scale.data(), q,
                     scale.data(), bias, z, wz, workspace.tile);
    }

    // dx [N,I] = of dy [N,O].
    void multiply_back(const Device& device, Matrix<T> dx, Matrix<const T> dy, int grad_bits,
                       LinearWorkspace<Device>& workspace) const {
        if (grad_bits == 16)
            return dequantized_gemm_nn(device, dx, dy, q, scale.data(), rotation, workspace.dequantized);
        const Matrix<int8_t> gq = quantized(device, dy.rows, out_features, workspace);
        quantize_gradient_rows(device, gq, workspace.row_scale.data(), dy, scale.data());
        int8_gemm_nn(device, dx, gq, workspace.row_scale.data(), q, rotation, workspace.tile);
    }

  private:
    static Matrix<int8_t> quantized(const Device& device, int64_t n_tokens, int64_t features,
                                    const LinearWorkspace<Device>& workspace) {
        return {workspace.quantized.data(), padded_tokens(device, n_tokens), features,
                padded_features(device, features)};
    }
};

}  // namespace quaff
