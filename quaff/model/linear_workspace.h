// What a linear is told of a pass, the scratch it works in, and its vectors.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

#include "llmc/core/arena.h"
#include "llmc/core/dtype.h"
#include "llmc/core/integers.h"
#include "llmc/core/tensor.h"
#include "quaff/model/memory_kinds.h"

namespace quaff {

using namespace llmc;

// What a forward pass is for.
enum class Mode {
    train,      // moves s, drops out, keeps what backward needs
    recompute,  // the same numbers again from the same input: s and the dropout mask are those of the train pass
    evaluate,   // s of quaff as it stands, no dropout, keeps nothing
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

// One frozen weight W [O,I] and, if it has one, its bias [O].
struct LinearShape {
    std::string module;  // "model.layers.0.self_attn.qkv_proj"
    int64_t in_features = 0, out_features = 0;
    DType stored = DType::f32;  // the weight's type in the model's file
    bool has_bias = false;
};

// Elements of each buffer of a LinearWorkspace: the largest need of any layer.
struct LinearWorkspaceSizes {
    int64_t quantized = 0, row_scale = 0, lora = 0, z = 0, joint_weight = 0, xmax = 0, tile = 0, dequantized = 0,
            widened = 0, channels = 0, weight_q = 0, weight_scale = 0;
};

// A vector as a matrix of one row.
template <class T>
Matrix<T> as_row(std::span<T> values) {
    return {values.data(), 1, static_cast<int64_t>(values.size())};
}

// dst [n], on the device, = values.
template <class Device>
void set_values(const Device& device, std::span<float> dst, std::span<const float> values) {
    fill_from_host(device, as_row(dst), [&](Matrix<float> host) { std::ranges::copy(values, host.data); });
}

// Raises a size to what one layer needs.
inline void raise_to(int64_t& size, int64_t need) {
    if (need > size) size = need;
}

// Scratch of one linear at a time, shared by all of them. N: tokens of the longest micro-batch.
template <class Device>
struct LinearWorkspace {
    using T = typename Device::compute_t;
    std::span<int8_t> quantized;    // Xq [N,I] or Gq [N,O], padded
    std::span<float> row_scale;     // dX or dG [N]
    std::span<T> lora;              // of the products with A (llmc/core/lora_down.h)
    std::span<T> z;                 // Z [N, R+n]; in backward dZ [N,R]
    std::span<T> joint_weight;      // Wz [O, R+n]
    std::span<float> xmax;          // of the channels that a method looks at [n]
    std::span<int32_t> tile;        // of the int8 GEMM
    std::span<T> dequantized;       // rows of W, dequantised
    std::span<T> widened;           // blocks of 16-bit weights; the head's products use it, too
    std::span<int32_t> channels;    // channels that were found in this batch [n]
    std::span<int8_t> weight_q;     // Wq [O,I] of a method that quantises W in every pass, padded
    std::span<float> weight_scale;  // and its scales [O]

    void layout(Arena<Device>& arena, const LinearWorkspaceSizes& sizes) {
        const MemoryKind kind = MemoryKind::workspace;
        arena.place(quantized, kind, "quantized rows", sizes.quantized);
        arena.place(row_scale, kind, "row scales", sizes.row_scale);
        arena.place(lora, kind, "products with A", sizes.lora);
        arena.place(z, kind, "z", sizes.z);
        arena.place(joint_weight, kind, "joint weight", sizes.joint_weight);
        arena.place(xmax, kind, "channel maxima", sizes.xmax);
        arena.place(tile, kind, "int32 tile", sizes.tile);
        arena.place(dequantized, kind, "dequantized rows", sizes.dequantized);
        arena.place(widened, kind, "widened weights", sizes.widened);
        arena.place(channels, kind, "channels found", sizes.channels);
        arena.place(weight_q, kind, "quantized weight", sizes.weight_q);
        arena.place(weight_scale, kind, "its scales", sizes.weight_scale);
    }
};

// The columns of Z and Wz: R of the adapters and n of outlier channels. Rows begin at multiples of 16 bytes in every
// type, which is what fast GEMMs want. With outliers the contraction is as long as the device likes it: their operators
// fill the rest with zeros.
struct JointColumns {
    int64_t rank = 0, outliers = 0;

    int64_t stride() const { return round_up(rank + outliers, 8); }
    template <class Device>
    int64_t count(const Device& device) const {
        return outliers > 0 ? padded_contraction(device, rank + outliers) : rank;
    }
    // `rows` rows of them in `buffer`.
    template <class Device, class T>
    Matrix<T> matrix(const Device& device, std::span<T> buffer, int64_t rows) const {
        return {buffer.data(), rows, count(device), stride()};
    }
    // Z's part that belongs to the outlier channels.
    template <class Device, class T>
    Matrix<T> outlier_part(const Device& device, std::span<T> buffer, int64_t rows) const {
        return matrix(device, buffer, rows).columns(rank, count(device) - rank);
    }
};

}  // namespace quaff
