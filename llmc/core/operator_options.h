// What operators take besides tensors, on every device.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>

#include "llmc/core/error.h"
#include "llmc/core/philox.h"

namespace llmc {

// Causal attention with grouped queries: n_heads / n_kv_heads query heads share one key and value head.
struct AttentionShape {
    int n_heads = 0;
    int n_kv_heads = 0;
    int head_dim = 0;
    int window = 0;      // token i sees tokens i-window+1..i; 0: all of 0..i
    float scale = 1.0f;  // of q k^T, usually 1/sqrt(head_dim)
    float soft_cap = 0;  // a score s becomes soft_cap tanh(s / soft_cap); 0: stays

    LLMC_HOST_DEVICE int group() const { return n_heads / n_kv_heads; }
    LLMC_HOST_DEVICE int qkv_width() const { return (n_heads + 2 * n_kv_heads) * head_dim; }
};

inline void require_soft_cap(float soft_cap) {
    require(soft_cap >= 0 && std::isfinite(soft_cap),
            "a soft cap is a positive number, or 0 for none, but this one is ", soft_cap);
}

// torch.optim.AdamW's options. In double, as Python holds them: 1 - 0.999f is off by 1.3e-5 of itself.
struct AdamWOptions {
    double learning_rate = 2e-4;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    double weight_decay = 0.0;
};

// What becomes of a row x before it is quantised: its outlier channels are made smaller, then it is turned.
//
//   xh[i] = x[i] / s[j] if i = channels[j], or 0 if s is null; x[i] elsewhere
//   v     = xh H                                                        H: llmc/core/hadamard.h
struct RowTransform {
    std::span<const int32_t> channels = {};  // outlier channels, ascending, in the device's memory
    const float* s = nullptr;                // their scales, there, too
    int64_t rotation = 0;                    // side of H's blocks, hadamard_block() of the row; 0: v = xh
};

// What RMSNorm multiplies channel c by: w[c] + addend, a sum that is never rounded to 16 bits. Some families' files
// hold their weights less 1, and the addend is 1.
template <class T>
struct NormWeight {
    const T* w = nullptr;  // in the device's memory
    float addend = 0;

    // Where T is float or double.
    T operator[](int64_t c) const { return w[c] + static_cast<T>(addend); }
};

// Names one dropout mask. Whether it keeps element (n, c) depends on these and on n and c alone, never on threads,
// strides or devices, so the backward pass and a recompute draw the mask again instead of storing it.
struct DropoutStream {
    uint64_t seed = 0;
    uint64_t micro_batch = 0;
    uint32_t layer_id = 0;
};

// The random words of elements (n, 8 c8) .. (n, 8 c8 + 7), sixteen bits each; the low half of a word belongs to the
// even channel.
LLMC_HOST_DEVICE inline PhiloxWords dropout_words(const DropoutStream& stream, uint32_t n, uint32_t c8) {
    return philox4x32_10({c8, n, stream.layer_id, static_cast<uint32_t>(stream.micro_batch)},
                         {static_cast<uint32_t>(stream.seed),
                          static_cast<uint32_t>(stream.seed >> 32) ^ static_cast<uint32_t>(stream.micro_batch >> 32)});
}

// An element is dropped if its sixteen bits are below this: p in units of 2^-16, capped so that some elements remain.
LLMC_HOST_DEVICE inline uint32_t dropout_threshold(float p) {
    const uint32_t threshold = static_cast<uint32_t>(p * 65536.0f + 0.5f);
    return threshold < 65535 ? threshold : 65535;
}

// What a kept element is multiplied by: 1 / (1 - p), with p as rounded above, which preserves the mean.
LLMC_HOST_DEVICE inline float dropout_keep_factor(float p) {
    return 65536.0f / (65536.0f - static_cast<float>(dropout_threshold(p)));
}

// Drops each element with probability p, by that mask; p = 0 drops none.
struct Dropout {
    float p = 0;
    DropoutStream stream;
};

}  // namespace llmc
