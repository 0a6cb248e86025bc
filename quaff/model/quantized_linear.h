// A frozen linear layer in int8 with LoRA adapters on it: the method of the paper, in one file.
//
// At load, W [O,I] is rotated (llmc/core/hadamard.h) and quantised per output channel, outlier columns included. Those
// columns of W itself are also kept as they are:
//   Wh = W H,  dW[o] = max_i |Wh[o,i]| / 127,  Wq = round(Wh / dW)
//   Wo[o,j] = W[o, Oc[j]],  wmax[j] = max_o |Wo[o,j]|
//
// Forward, Xh = X with channel Oc[j] divided by s[j] (scales.h):
//   Xq = round(Xh H / dX),  dX[n] = max_i |(Xh H)[n,i]| / 127
//   Z  = [ dropout(X) A^T | Xh[:,Oc] ],  Wz = [ (alpha/r) B | (s-1) Wo ]      adapters and outliers joined (lora.h)
//   Y  = dX[n] dW[o] (Xq Wq^T) + bias + Z Wz^T               int8 x int8 -> int32, dequantised
//
// Backward, straight through the rounding:
//   G = dY dW[o],  Gq = round(G / dG),  dG[n] = max_o |G[n,o]| / 127
//   dX   = (dG[n] (Gq Wq)) H                                   the same Wq, contracted over O
//   dZ   = (alpha/r) dY B,  dA += dZ^T dropout(X),  dB += (alpha/r) dY^T (dropout(X) A^T)
//   dX  += mask/(1-p) (dZ A)
//
// LinearMethod (method.h) says which of this a method does. Without the rotation H is the identity. Where outlier
// channels are split off, Xh[:,Oc] is 0 in Xq, Z has X[:,Oc] and Wz has Wo: there is no s. Methods in full precision
// run the same code with W as it is and no outliers. Each adapter has an alpha/r of its own, and there may be none. Y
// and dX are written (=), dA and dB accumulated (+=). Huang and Wu 2025, arXiv 2505.14742; the rotation is not theirs.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "llmc/core/arena.h"
#include "llmc/core/hadamard.h"
#include "llmc/core/integers.h"
#include "llmc/core/operator_options.h"
#include "llmc/cpu/quantize.h"
#include "llmc/cpu/rows.h"
#include "quaff/files/method.h"
#include "quaff/model/channel_statistics.h"
#include "quaff/model/frozen_matrix.h"
#include "quaff/model/linear_input.h"
#include "quaff/model/lora.h"
#include "quaff/model/scales.h"

namespace quaff {

// What a forward pass is for.
enum class Mode {
    train,      // moves s, drops out, keeps what backward needs
    recompute,  // the same numbers again from the same input: s and the dropout mask are those of the train pass
    evaluate,   // s as it stands, no dropout, keeps nothing
};

// What a linear must know about the pass.
struct PassInfo {
    Mode mode = Mode::evaluate;
    float dropout = 0;
    float scale_momentum = 0;
    int grad_bits = 8;
    uint64_t seed = 0;
    uint64_t micro_batch = 0;  // counted over the whole run: names the dropout mask
};

// Elements of each buffer of a LinearWorkspace: the largest need of any layer.
struct LinearWorkspaceSizes {
    int64_t quantized = 0, row_scale = 0, lora = 0, z = 0, joint_weight = 0, xmax = 0, tile = 0, dequantized = 0,
            widened = 0;
};

// Scratch of one linear at a time, shared by all of them. N: tokens of the longest micro-batch.
template <class Device>
struct LinearWorkspace {
    using T = typename Device::compute_t;
    std::span<int8_t> quantized;  // Xq [N,I] or Gq [N,O], padded
    std::span<float> row_scale;   // dX or dG [N]
    std::span<T> lora;            // of the products with A (llmc/core/lora_down.h)
    std::span<T> z;               // Z [N, R+n]; in backward dZ [N,R]
    std::span<T> joint_weight;    // Wz [O, R+n]
    std::span<float> xmax;        // [n]
    std::span<int32_t> tile;      // of the int8 GEMM
    std::span<T> dequantized;     // a block of rows of W, --grad-bits 16
    std::span<T> widened;         // blocks of 16-bit weights; the head's products use it, too

    void layout(Arena<Device>& arena, const LinearWorkspaceSizes& sizes) {
        const MemoryKind kind = MemoryKind::workspace;
        arena.place(quantized, kind, "quantized rows", sizes.quantized);
        arena.place(row_scale, kind, "row scales", sizes.row_scale);
        arena.place(lora, kind, "products with A", sizes.lora);
        arena.place(z, kind, "z", sizes.z);
        arena.place(joint_weight, kind, "joint weight", sizes.joint_weight);
        arena.place(xmax, kind, "outlier maxima", sizes.xmax);
        arena.place(tile, kind, "int32 tile", sizes.tile);
        arena.place(dequantized, kind, "dequantized rows", sizes.dequantized);
        arena.place(widened, kind, "widened weights", sizes.widened);
    }
};

// dst [n], on the device, = values.
template <class Device>
void set_values(const Device& device, std::span<float> dst, std::span<const float> values) {
    fill_from_host(device, Matrix<float>(dst.data(), 1, static_cast<int64_t>(dst.size())),
                   [&](Matrix<float> host) { std::ranges::copy(values, host.data); });
}

template <class Device>
class QuantizedLinear {
  public:
    using T = typename Device::compute_t;

    std::string module;  // "model.layers.0.self_attn.qkv_proj"
    int64_t in_features = 0, out_features = 0;
    uint32_t id = 0;  // distinct in the model: names the layer's dropout stream
    LinearMethod method;
    DType stored = DType::f32;  // the weights' type in the model's file
    bool has_bias = false;

    // Frozen.
    Matrix<int8_t> weight_q;           // Wq [O,I], padded by rows and stride as the device's int8 GEMM wants
    std::span<float> weight_scale;     // dW [O]
    FrozenMatrix<Device> weight;       // W [O,I], unless it is in int8
    std::span<T> bias;                 // [O], or empty
    std::vector<int32_t> channels;     // Oc, ascending
    std::span<int32_t> channel_index;  // the same, on the device [n]
    Matrix<T> outlier_weight;          // Wo [O,n]
    std::span<float> outlier_wmax;     // [n]
    std::vector<float> host_wmax;      // the same, on the host

    // Set by calibration only: what gathers the inputs, and a buffer for those that must be copied to the host.
    ChannelStatistics* statistics = nullptr;
    std::vector<float>* observed = nullptr;

    // What training moves.
    std::span<float> s;  // [n]; empty where outlier channels are split off
    bool scales_initialised = false;
    std::span<float> kept_s;  // as keep_scales() left them [n]
    bool kept_initialised = false;
    std::vector<LoraAdapter> adapters;
    Matrix<float> lora_a, lora_da;  // the adapters' A stacked [R,I], and its gradient
    // lora_a and the adapters' B as the passes compute with them: rounded copies, or the same memory where T is float.
    Matrix<T> compute_a;
    std::vector<Matrix<T>> compute_b;

    int64_t rank() const { return lora_a.rows; }
    // Of Z and Wz. Their rows begin at multiples of 16 bytes in every type, which is what fast GEMMs want. With
    // outliers the contraction is as long as the device likes it: their operators fill the rest with zeros.
    int64_t z_stride() const { return round_up(rank() + n_outliers(), 8); }
    int64_t z_columns(const Device& device) const {
        return n_outliers() > 0 ? padded_contraction(device, rank() + n_outliers()) : rank();
    }
    int64_t n_outliers() const { return static_cast<int64_t>(channels.size()); }
    int64_t n_scales() const { return method.has_scales() ? n_outliers() : 0; }
    // Side of the blocks of H; 0: no rotation.
    int64_t rotation() const { return method.rotation ? hadamard_block(in_features) : 0; }

    void layout(Arena<Device>& arena, const Device& device) {
        const int64_t n = n_outliers();
        const ArenaScope scope(arena, module);
        if (method.int8) {
            arena.place(weight_q, MemoryKind::int8_weights, "weight", padded_features(device, out_features),
                        padded_features(device, in_features));
            weight_q.cols = in_features;
            arena.place(weight_scale, MemoryKind::weights, "weight_scale", out_features);
        } else {
            weight.layout(arena, MemoryKind::weights, "weight", out_features, in_features, stored);
        }
        arena.place(bias, MemoryKind::weights, "bias", has_bias ? out_features : 0);
        arena.place(outlier_weight, MemoryKind::outlier_rows, "outlier_weight", out_features, n);
        arena.place(channel_index, MemoryKind::outlier_rows, "outlier_channels", n);
        arena.place(outlier_wmax, MemoryKind::outlier_rows, "outlier_wmax", n_scales());
        arena.place(s, MemoryKind::outlier_rows, "s", n_scales());
        arena.place(kept_s, MemoryKind::outlier_rows, "kept_s", n_scales());
    }

    // Raises `sizes` to what this layer needs for `n_tokens` rows. `dropout` and `grad_bits` count in training only.
    void size_workspace(const Device& device, LinearWorkspaceSizes& sizes, int64_t n_tokens, bool training,
                        float dropout, int grad_bits) const {
        const auto raise = [](int64_t& size, int64_t need) { size = std::max(size, need); };
        raise(sizes.z, n_tokens * z_stride());
        raise(sizes.joint_weight, out_features * z_stride());
        if (training && rank() > 0)
            raise(sizes.lora, lora_down_workspace(device, n_tokens, in_features, rank(), dropout));
        if (!method.int8) return raise(sizes.widened, weight.workspace(device, out_features, in_features, stored));
        const bool int8_backward = training && grad_bits == 8;
        const int64_t in_stride = padded_features(device, in_features),
                      out_stride = padded_features(device, out_features);
        raise(sizes.quantized,
              padded_tokens(device, n_tokens) * (int8_backward ? std::max(in_stride, out_stride) : in_stride));
        raise(sizes.row_scale, n_tokens);
        raise(sizes.xmax, n_scales());
        raise(sizes.tile,
              int8_backward ? int8_gemm_nn_workspace(device, out_features, in_features) : int8_gemm_workspace(device));
        if (training && grad_bits == 16)
            raise(sizes.dequantized, dequantized_gemm_workspace(device, out_features, in_features));
    }

    // Rows out_begin, out_begin + 1, ... of W = `w` [rows, I], which is in host memory. Before the first pass the parts
    // cover [0, O) once, in order. s becomes 1 everywhere.
    void load_rows(const Device& device, int64_t out_begin, Matrix<const float> w) {
        if (!method.int8) return weight.load_rows(device, out_begin, w);
        const Matrix<float> scales(weight_scale.data() + out_begin, 1, w.rows);
        fill_from_host(device, weight_q.rows_at(out_begin, w.rows), [&](Matrix<int8_t> q) {
            fill_from_host(device, scales, [&](Matrix<float> scale) {
                cpu::quantize_weight(host_of(device), q, scale.data, w, rotation());
            });
        });
        if (channels.empty()) return;
        if (out_begin == 0) host_wmax.assign(channels.size(), 0.0f);
        fill_from_host(device, outlier_weight.rows_at(out_begin, w.rows), [&](Matrix<float> columns) {
            for (size_t j = 0; j < channels.size(); j++) {
                for (int64_t o = 0; o < w.rows; o++) {
                    const float value = w(o, channels[j]);
                    columns(o, static_cast<int64_t>(j)) = value;
                    host_wmax[j] = std::max(host_wmax[j], std::abs(value));
                }
            }
        });
        upload(device, channel_index, channels);
        if (n_scales() == 0) return;
        set_values(device, outlier_wmax, host_wmax);
        set_values(device, s, std::vector<float>(channels.size(), 1.0f));
    }

    // Sets s, if there is one, from the maxima that calibration saw. Call it before the first pass.
    void start_scales(const Device& device, std::span<const float> xmax) {
        require(xmax.size() == channels.size(), module, " has ", channels.size(),
                " outlier channels, but max_abs lists ", xmax.size());
        if (n_scales() == 0) return;
        std::vector<float> beta(channels.size());
        cpu::scales_from_maxima(host_of(device), beta, xmax.data(), host_wmax.data());
        set_values(device, s, beta);
        scales_initialised = true;
    }

    // Keep s as it is, on the device, and go back to it.
    void keep_scales(const Device& device) {
        copy<float>(device, as_row(kept_s), as_row(s));
        kept_initialised = scales_initialised;
    }
    void restore_scales(const Device& device) {
        copy<float>(device, as_row(s), as_row(kept_s));
        scales_initialised = kept_initialised;
    }

    // Moves the scales as forward() does, but without an input: by the maxima of the other ranks.
    void follow_scales(const Device& device, float momentum, LinearWorkspace<Device>& workspace) {
        if (n_scales() == 0) return;
        set_zero<float>(device, as_row(workspace.xmax.first(channels.size())));
        move_scales(device, momentum, workspace);
    }

    // y [N,O] =, of the x that `input` makes first (linear_input.h). `saved_z` [N,R] = dropout(X) A^T, unless the pass
    // is an evaluation; then it may be empty.
    template <class Input>
    void forward(const Device& device, Matrix<T> y, const Input& input, Matrix<T> saved_z, const PassInfo& pass,
                 LinearWorkspace<Device>& workspace) {
        const Matrix<const T> x = input.x;
        const int64_t r = rank();
        const int64_t columns = z_columns(device);
        const Matrix<T> z(workspace.z.data(), x.rows, columns, z_stride());
        const Matrix<T> wz(workspace.joint_weight.data(), out_features, columns, z_stride());

        // x, and with it Xq, dX and the outlier columns of Z. While training the maxima of x move s first.
        Matrix<int8_t> xq;
        if (method.int8) {
            xq = quantized(device, x.rows, in_features, workspace);
            const QuantizedRows<T> rows{xq, workspace.row_scale.data(), z.columns(r, columns - r)};
            const RowTransform transform{channel_index, scales(), rotation()};
            if (pass.mode == Mode::train && n_scales() > 0) {
                input.make_absmax(device, workspace.xmax.data(), channel_index);
                move_scales(device, pass.scale_momentum, workspace);
                PlainInput<Device>{x}.make_quantized(device, rows, transform);
            } else {
                input.make_quantized(device, rows, transform);
            }
        } else {
            input.make(device);
        }
        if (statistics) statistics->observe(host_view(device, x, *observed), host_of(device).threads);

        // Z = [ dropout(X) A^T | Xh[:,Oc] ],  Wz = [ (alpha/r) B | (s-1) Wo ]
        if (r > 0) {
            lora_down<T>(device, z.columns(0, r), x, compute_a, dropout(pass), workspace.lora);
            if (pass.mode != Mode::evaluate) copy<T>(device, saved_z, z.columns(0, r));
        }
        if (columns > 0) joint_weight(device, wz, adapters, outlier_weight, scales());

        // Y = dX dW (Xq Wq^T) + bias + Z Wz^T
        if (method.int8) {
            int8_gemm_nt(device, y, xq, workspace.row_scale.data(), weight_q, weight_scale.data(),
                         has_bias ? bias.data() : nullptr, z, wz, workspace.tile);
        } else {
            if (has_bias) fill_rows<T>(device, y, bias.data());
            weight.multiply(device, y, x, has_bias ? 1 : 0, workspace.widened);
            if (columns > 0) gemm_nt<T>(device, y, z, wz, 1, 1);
        }
    }

    // dx [N,I] = unless its data is null (nothing below is trained); da and db of the adapters +=.
    // x and saved_z are those of the forward pass.
    void backward(const Device& device, Matrix<T> dx, Matrix<const T> dy, Matrix<const T> x, Matrix<const T> saved_z,
                  const PassInfo& pass, LinearWorkspace<Device>& workspace) {
        // dX = (dG (Gq Wq)) H
        const bool wants_dx = dx.data != nullptr;
        if (wants_dx && !method.int8) {
            weight.multiply_back(device, dx, dy, workspace.widened);
        } else if (wants_dx && pass.grad_bits == 16) {
            dequantized_gemm_nn(device, dx, dy, weight_q, weight_scale.data(), rotation(), workspace.dequantized);
        } else if (wants_dx) {
            const Matrix<int8_t> gq = quantized(device, dy.rows, out_features, workspace);
            quantize_gradient_rows(device, gq, workspace.row_scale.data(), dy, weight_scale.data());
            int8_gemm_nn(device, dx, gq, workspace.row_scale.data(), weight_q, rotation(), workspace.tile);
        }
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
    static Matrix<float> as_row(std::span<float> values) {
        return {values.data(), 1, static_cast<int64_t>(values.size())};
    }

    // Null where outlier channels are split off, as operators take it.
    const float* scales() const { return method.has_scales() ? s.data() : nullptr; }

    Dropout dropout(const PassInfo& pass) const {
        return {pass.mode == Mode::evaluate ? 0 : pass.dropout, {pass.seed, pass.micro_batch, id}};
    }

    static Matrix<int8_t> quantized(const Device& device, int64_t n_tokens, int64_t features,
                                    const LinearWorkspace<Device>& workspace) {
        return {workspace.quantized.data(), padded_tokens(device, n_tokens), features,
                padded_features(device, features)};
    }

    // Moves s by the maxima in workspace.xmax, taken over all ranks first, so that every rank has the same scales.
    void move_scales(const Device& device, float momentum, LinearWorkspace<Device>& workspace) {
        device.comm->all_reduce_max(workspace.xmax.first(channels.size()));
        if (scales_initialised) {
            update_scales(device, s, workspace.xmax.data(), outlier_wmax.data(), momentum);
        } else {
            scales_from_maxima(device, s, workspace.xmax.data(), outlier_wmax.data());
            scales_initialised = true;
        }
    }
};

}  // namespace quaff
