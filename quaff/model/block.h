// One transformer block, forward and backward by hand. All families share it: q, k, v (and gate, up) are one joint
// linear here, however the file stores them, and what families and layers differ in is data (model_config.h).
//
//   r1 = x + delta                       the residual stream; delta is what the block below adds to it
//   h1 = rmsnorm(r1)
//   q, k, v = qkv_proj(h1)
//   q, k = rmsnorm(q), rmsnorm(k)        of each head, where the family has qk_norm
//   q, k = rope(q), rope(k)              in layers that have it
//   a  = attention(q, k, v)
//   r2 = r1 + o_proj(a)
//   h2 = rmsnorm(r2)
//   gate, up = gate_up_proj(h2)
//   delta' = down_proj(silu(gate) up)
//
// The block hands (r2, delta') to the one above, whose first norm adds them: the addition costs no trip to memory of
// its own. backward takes dr, the gradient of r2 + delta', and turns it into the gradient of r1, accumulating the
// adapters'.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "quaff/files/model_config.h"
#include "quaff/files/model_files.h"
#include "quaff/model/block_buffers.h"
#include "quaff/model/micro_batch.h"
#include "quaff/model/quantized_linear.h"

namespace quaff {

// The type of each in the model's file: F32 if its parts, or those of two blocks, differ.
inline std::vector<DType> stored_types(const ModelFiles& checkpoint) {
    std::vector<std::set<DType>> found(kLayersPerBlock);
    size_t k = 0;
    for (const JointLinear& joint : all_joint_linears(checkpoint.config())) {
        for (const LinearPart& part : joint.parts) found[k].insert(checkpoint.dtype(part.name + ".weight"));
        k = (k + 1) % kLayersPerBlock;
    }
    std::vector<DType> types;
    for (const std::set<DType>& of_layer : found)
        types.push_back(of_layer.size() == 1 ? *of_layer.begin() : DType::f32);
    return types;
}

template <class Device>
class Block {
  public:
    using T = typename Device::compute_t;

    int64_t hidden_size = 0, intermediate_size = 0;
    float eps = 0;
    bool qk_norm = false, has_rope = true;
    AttentionShape shape{};
    std::span<T> norm_attention, norm_mlp;  // [C]
    std::span<T> norm_q, norm_k;            // [D], empty without qk_norm
    QuantizedLinear<Device> linears[kLayersPerBlock];

    int64_t query_width() const { return int64_t{shape.n_heads} * shape.head_dim; }
    int64_t key_width() const { return int64_t{shape.n_kv_heads} * shape.head_dim; }
    int64_t qkv_width() const { return query_width() + 2 * key_width(); }
    // Of each linear: the sum of its adapters' ranks.
    std::array<int64_t, kLayersPerBlock> ranks() const {
        return {linears[kQkv].rank(), linears[kAttentionOutput].rank(), linears[kGateUp].rank(), linears[kDown].rank()};
    }
    bool has_adapters() const { return ranks() != std::array<int64_t, kLayersPerBlock>{}; }

    // Sets the names and shapes of block `index`. Both lists are in the order of Layer: `outliers`, all empty for a
    // method without outliers, and `stored`, which stored_types() returns.
    void configure(const ModelConfig& config, int64_t index, const LinearMethod& method,
                   std::vector<LayerOutliers> outliers, const std::vector<DType>& stored);
    void layout_weights(Arena<Device>& arena, const Device& device);
    // Becomes block `index` of the checkpoint, quantising each linear as soon as it is read.
    void load(const Device& device, const ModelFiles& checkpoint, int64_t index, std::vector<float>& staging);

    // Buffers for `n` tokens. layout_input: what a recomputed block keeps of its own.
    void layout_input(Arena<Device>& arena, BlockActivations<Device>& saved, int64_t n) const;
    // ranks: at least ranks(); more where blocks of other ranks use the buffers, too, each its own_part().
    void layout_activations(Arena<Device>& arena, BlockActivations<Device>& saved, int64_t n,
                            const std::array<int64_t, kLayersPerBlock>& ranks) const;
    BlockActivations<Device> own_part(const BlockActivations<Device>& shared) const {
        BlockActivations<Device> own = shared;
        for (int k = 0; k < kLayersPerBlock; k++) own.z[k] = shared.z[k].columns(0, linears[k].rank());
        return own;
    }
    void layout_workspace(Arena<Device>& arena, const Device& device, BlockWorkspace<Device>& ws, int64_t n,
                          bool training) const;

    // Takes the stream [N,C] below the block and returns the one above it, which lies in saved.residual_mlp and
    // ws.branch. With a cache, keys and values are appended to it, and a single token attends to all of it.
    Stream<Device> forward(const Device& device, Stream<Device> in, const SequenceInfo<Device>& sequences,
                           const BlockActivations<Device>& saved, const PassInfo& pass, BlockWorkspace<Device>& ws,
                           KeyValueCache<Device>* cache = nullptr) {
        const int64_t n = in.x.rows;
        const BlockActivations<Device> kept = saved.first_rows(n);
        const Matrix<T> normed = ws.normed.first_rows(n), branch = ws.branch.first_rows(n),
                        activated = ws.activated.first_rows(n);

        // r1 = x + delta, h1 = rmsnorm(r1). Made by the linear that reads it, in one pass with its int8 rows.
        const NormedInput<Device> h1{.x = normed,
                                     .residual = kept.residual_attention,
                                     .rstd = kept.rstd_attention.data(),
                                     .stream = in.x,
                                     .delta = in.delta,
                                     .weight = norm_attention.data(),
                                     .eps = eps};
        // q, k, v = qkv_proj(h1)
        linears[kQkv].forward(device, kept.qkv, h1, kept.z[kQkv], pass, ws.linear);
        // q, k = rmsnorm(q), rmsnorm(k)
        if (qk_norm) norm_queries_and_keys(device, kept);
        // q, k = rope(q), rope(k)
        if (has_rope)
            rope_forward<T>(device, queries_and_keys(kept.qkv), sequences.cos, sequences.sin, sequences.rope_rows,
                            shape.head_dim);
        // a = attention(q, k, v)
        attend(device, kept, sequences, ws, cache);
        // branch = o_proj(a)
        const PlainInput<Device> a{kept.attention};
        linears[kAttentionOutput].forward(device, branch, a, kept.z[kAttentionOutput], pass, ws.linear);

        // r2 = r1 + branch, h2 = rmsnorm(r2)
        const NormedInput<Device> h2{.x = normed,
                                     .residual = kept.residual_mlp,
                                     .rstd = kept.rstd_mlp.data(),
                                     .stream = kept.residual_attention,
                                     .delta = branch,
                                     .weight = norm_mlp.data(),
                                     .eps = eps};
        // gate, up = gate_up_proj(h2)
        linears[kGateUp].forward(device, kept.gate_up, h2, kept.z[kGateUp], pass, ws.linear);
        // delta' = down_proj(silu(gate) up)
        const ActivatedInput<Device> gated{activated, kept.gate_up};
        linears[kDown].forward(device, branch, gated, kept.z[kDown], pass, ws.linear);
        return {kept.residual_mlp, branch};
    }

    // dr [N,C]: on entry the gradient of the stream above the block, on return that of the one below it. If
    // `trained_below` is false, nothing below the block has adapters, and the pass ends at this block's lowest one.
    void backward(const Device& device, Matrix<T> dr, const SequenceInfo<Device>& sequences,
                  const BlockActivations<Device>& saved, const PassInfo& pass, BlockWorkspace<Device>& ws,
                  bool trained_below) {
        const int64_t n = dr.rows;
        const BlockActivations<Device> kept = saved.first_rows(n);
        const Matrix<T> normed = ws.normed.first_rows(n), activated = ws.activated.first_rows(n);
        const Matrix<T> dnormed = ws.dnormed.first_rows(n), dattention = ws.dattention.first_rows(n);
        const Matrix<T> dqkv = ws.dqkv.first_rows(n), dactivated = ws.dactivated.first_rows(n);
        const Matrix<T> none;
        // trained[k]: some adapter lies below the input of linear k.
        bool trained[kLayersPerBlock + 1] = {trained_below};
        for (int k = 0; k < kLayersPerBlock; k++) trained[k + 1] = trained[k] || linears[k].rank() > 0;

        // delta' = down_proj(silu(gate) up)
        swiglu_forward<T>(device, activated, kept.gate_up);
        linears[kDown].backward(device, trained[kDown] ? dactivated : none, dr, activated, kept.z[kDown], pass,
                                ws.linear);
        if (!trained[kDown]) return;
        const Matrix<T> dgate_up = kept.gate_up;  // in place: nobody reads gate_up after this
        swiglu_backward<T>(device, dgate_up, dactivated, kept.gate_up);
        // gate, up = gate_up_proj(h2)
        rmsnorm_apply<T>(device, normed, kept.residual_mlp, kept.rstd_mlp.data(), norm_mlp.data());
        linears[kGateUp].backward(device, trained[kGateUp] ? dnormed : none, dgate_up, normed, kept.z[kGateUp], pass,
                                  ws.linear);
        if (!trained[kGateUp]) return;
        // h2 = rmsnorm(r2): dr becomes the gradient of r2
        rmsnorm_backward<T>(device, dr, dnormed, kept.residual_mlp, kept.rstd_mlp.data(), norm_mlp.data());

        // r2 = r1 + o_proj(a)
        linears[kAttentionOutput].backward(device, trained[kAttentionOutput] ? dattention : none, dr, kept.attention,
                                           kept.z[kAttentionOutput], pass, ws.linear);
        if (!trained[kAttentionOutput]) return;
        // a = attention(q, k, v)
        attention_backward<T>(device, dqkv, dattention, kept.attention, kept.lse, kept.qkv, sequences.cu_seqlens,
                              sequences.max_sequence_length, shape, ws.attention);
        // q, k = rope(q), rope(k)
        if (has_rope)
            rope_backward<T>(device, queries_and_keys(dqkv), sequences.cos, sequences.sin, sequences.rope_rows,
                             shape.head_dim);
        // q, k = rmsnorm(q), rmsnorm(k)
        if (qk_norm) norm_queries_and_keys_backward(device, dqkv, kept);
        // q, k, v = qkv_proj(h1)
        rmsnorm_apply<T>(device, normed, kept.residual_attention, kept.rstd_attention.data(), norm_attention.data());
        linears[kQkv].backward(device, trained[kQkv] ? dnormed : none, dqkv, normed, kept.z[kQkv], pass, ws.linear);
        if (!trained[kQkv]) return;
        // h1 = rmsnorm(r1): dr becomes the gradient of r1
        rmsnorm_backward<T>(device, dr, dnormed, kept.residual_attention, kept.rstd_attention.data(),
                            norm_attention.data());
    }

  private:
    // Of qkv, or of unnormed_qk. v is neither normed nor rotated.
    Matrix<T> queries(const Matrix<T>& qkv) const { return qkv.columns(0, query_width()); }
    Matrix<T> keys(const Matrix<T>& qkv) const { return qkv.columns(query_width(), key_width()); }
    Matrix<T> queries_and_keys(const Matrix<T>& qkv) const { return qkv.columns(0, query_width() + key_width()); }
    Matrix<float> of_queries(const Matrix<float>& rstd) const { return rstd.columns(0, shape.n_heads); }
    Matrix<float> of_keys(const Matrix<float>& rstd) const { return rstd.columns(shape.n_heads, shape.n_kv_heads); }

    void norm_queries_and_keys(const Device& device, const BlockActivations<Device>& kept) const {
        head_norm_forward<T>(device, queries(kept.qkv), queries(kept.unnormed_qk), of_queries(kept.rstd_qk),
                             norm_q.data(), eps);
        head_norm_forward<T>(device, keys(kept.qkv), keys(kept.unnormed_qk), of_keys(kept.rstd_qk), norm_k.data(), eps);
    }
    void norm_queries_and_keys_backward(const Device& device, Matrix<T> dqkv,
                                        const BlockActivations<Device>& kept) const {
        head_norm_backward<T>(device, queries(dqkv), queries(kept.unnormed_qk), of_queries(kept.rstd_qk),
                              norm_q.data());
        head_norm_backward<T>(device, keys(dqkv), keys(kept.unnormed_qk), of_keys(kept.rstd_qk), norm_k.data());
    }

    // Sets what differs between the layers.
    void become(const LayerConfig& layer) {
        shape.window = static_cast<int>(layer.sliding_window);
        has_rope = layer.has_rope;
    }

    void attend(const Device& device, const BlockActivations<Device>& kept, const SequenceInfo<Device>& sequences,
                BlockWorkspace<Device>& ws, KeyValueCache<Device>* cache) {
        const int64_t n = kept.qkv.rows;
        if (cache) {
            copy<T>(device, cache->keys.rows_at(cache->length, n), keys(kept.qkv));
            copy<T>(device, cache->values.rows_at(cache->length, n),
                    kept.qkv.columns(query_width() + key_width(), key_width()));
            cache->length += n;
        }
        if (cache && cache->length > n) {
            attention_decode<T>(device, kept.attention, queries(kept.qkv), cache->keys.first_rows(cache->length),
                                cache->values.first_rows(cache->length), shape);
        } else {
            attention_forward<T>(device, kept.attention, kept.lse, kept.qkv, sequences.cu_seqlens,
                                 sequences.max_sequence_length, shape, ws.attention);
        }
    }
};

// Every linear of some blocks, in the order they run: for (QuantizedLinear<Device>& linear : linears_of(blocks)).
template <class Block>
class LinearsOf {
  public:
    struct Iterator {
        Block* block;
        int k;
        auto& operator*() const { return block->linears[k]; }
        Iterator& operator++() {
            if (++k == kLayersPerBlock) {
                k = 0;
                ++block;
            }
            return *this;
        }
        bool operator==(const Iterator&) const = default;
    };

    explicit LinearsOf(std::span<Block> blocks) : blocks_(blocks) {}
    Iterator begin() const { return {blocks_.data(), 0}; }
    Iterator end() const { return {blocks_.data() + blocks_.size(), 0}; }

  private:
    std::span<Block> blocks_;
};

template <class Blocks>
auto linears_of(Blocks& blocks) {
    return LinearsOf(std::span(blocks));
}

template <class Device>
void Block<Device>::configure(const ModelConfig& config, int64_t index, const LinearMethod& method,
                              std::vector<LayerOutliers> outliers, const std::vector<DType>& stored) {
    hidden_size = config.hidden_size;
    intermediate_size = config.intermediate_size;
    eps = static_cast<float>(config.rms_norm_eps);
    shape = {.n_heads = static_cast<int>(config.num_attention_heads),
             .n_kv_heads = static_cast<int>(config.num_key_value_heads),
             .head_dim = static_cast<int>(config.head_dim),
             .window = 0,
             .scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim))};
    qk_norm = config.qk_norm;
    become(config.layers.at(static_cast<size_t>(index)));

    const std::vector<JointLinear> joints = joint_linears(config);
    for (int k = 0; k < kLayersPerBlock; k++) {
        const LinearShape its_shape{.module = block_name(index) + "." + joints[k].name,
                                    .in_features = joints[k].in_features,
                                    .out_features = joints[k].out_features(),
                                    .stored = stored[k],
                                    .has_bias = joints[k].bias};
        linears[k].configure(its_shape, static_cast<uint32_t>(index * kLayersPerBlock + k), method,
                             std::move(outliers[k]));
    }
}

template <class Device>
void Block<Device>::layout_weights(Arena<Device>& arena, const Device& device) {
    {
        const ArenaScope scope(arena, linears[0].shape.module.substr(0, linears[0].shape.module.find(".self_attn")));
        arena.place(norm_attention, MemoryKind::weights, "input_layernorm", hidden_size);
        arena.place(norm_mlp, MemoryKind::weights, "post_attention_layernorm", hidden_size);
        arena.place(norm_q, MemoryKind::weights, "q_norm", qk_norm ? shape.head_dim : 0);
        arena.place(norm_k, MemoryKind::weights, "k_norm", qk_norm ? shape.head_dim : 0);
    }
    for (QuantizedLinear<Device>& linear : linears) linear.layout(arena, device);
}

template <class Device>
void Block<Device>::load(const Device& device, const ModelFiles& checkpoint, int64_t index,
                         std::vector<float>& staging) {
    const std::string owner = block_name(index) + ".";
    const auto read = [&](const std::string& name, std::span<T> vector) {
        fill_from_host(device, Matrix<T>(vector.data(), 1, static_cast<int64_t>(vector.size())),
                       [&](Matrix<float> host) { checkpoint.read(owner + name, host); });
    };
    read("input_layernorm.weight", norm_attention);
    read("post_attention_layernorm.weight", norm_mlp);
    if (qk_norm) {
        read("self_attn.q_norm.weight", norm_q);
        read("self_attn.k_norm.weight", norm_k);
    }
    become(checkpoint.config().layers.at(static_cast<size_t>(index)));

    const std::vector<JointLinear> joints = joint_linears(checkpoint.config());
    for (int k = 0; k < kLayersPerBlock; k++) {
        QuantizedLinear<Device>& linear = linears[k];
        int64_t out_begin = 0;
        for (const LinearPart& part : joints[k].parts) {
            const int64_t out = part.out_features;
            staging.resize(std::max(staging.size(), static_cast<size_t>(out * linear.shape.in_features)));
            const Matrix<float> w(staging.data(), out, linear.shape.in_features);
            checkpoint.read(owner + part.name + ".weight", w);
            linear.weight.load_rows(device, out_begin, w);
            if (linear.shape.has_bias) read(part.name + ".bias", linear.bias.subspan(out_begin, out));
            out_begin += out;
        }
    }
}

template <class Device>
void Block<Device>::layout_input(Arena<Device>& arena, BlockActivations<Device>& saved, int64_t n) const {
    arena.place(saved.residual_attention, MemoryKind::activations, "residual_attention", n, hidden_size);
}

template <class Device>
void Block<Device>::layout_activations(Arena<Device>& arena, BlockActivations<Device>& saved, int64_t n,
                                       const std::array<int64_t, kLayersPerBlock>& ranks) const {
    const MemoryKind kind = MemoryKind::activations;
    arena.place(saved.residual_mlp, kind, "residual_mlp", n, hidden_size);
    arena.place(saved.rstd_attention, kind, "rstd_attention", n);
    arena.place(saved.rstd_mlp, kind, "rstd_mlp", n);
    arena.place(saved.qkv, kind, "qkv", n, qkv_width());
    arena.place(saved.unnormed_qk, kind, "unnormed_qk", n, qk_norm ? query_width() + key_width() : 0);
    arena.place(saved.rstd_qk, kind, "rstd_qk", n, qk_norm ? shape.n_heads + shape.n_kv_heads : 0);
    arena.place(saved.attention, kind, "attention", n, query_width());
    arena.place(saved.lse, kind, "lse", n, shape.n_heads);
    arena.place(saved.gate_up, kind, "gate_up", n, 2 * intermediate_size);
    for (int k = 0; k < kLayersPerBlock; k++) arena.place(saved.z[k], kind, concat("z", k), n, ranks[k]);
}

template <class Device>
void Block<Device>::layout_workspace(Arena<Device>& arena, const Device& device, BlockWorkspace<Device>& ws, int64_t n,
                                     bool training) const {
    const MemoryKind kind = MemoryKind::workspace;
    const int64_t n_backward = training ? n : 0;
    arena.place(ws.normed, kind, "normed", n, hidden_size);
    arena.place(ws.branch, kind, "branch", n, hidden_size);
    arena.place(ws.activated, kind, "activated", n, intermediate_size);
    arena.place(ws.dnormed, kind, "dnormed", n_backward, hidden_size);
    arena.place(ws.dattention, kind, "dattention", n_backward, query_width());
    arena.place(ws.dqkv, kind, "dqkv", n_backward, qkv_width());
    arena.place(ws.dactivated, kind, "dactivated", n_backward, intermediate_size);
    arena.place(ws.attention, kind, "attention tiles", attention_workspace(device, shape, n));
}

}  // namespace quaff
