// One transformer block, forward and backward by hand. All families share it: q, k, v (and gate, up) are one joint
// linear here, however the file stores them, and what families and layers differ in is data (model_config.h).
//
//   r1 = x + delta                       the residual stream; delta is what the block below adds to it
//   h1 = rmsnorm(r1)
//   q, k, v = qkv_proj(h1)
//   q, k = rmsnorm(q), rmsnorm(k)        where the family norms them
//   q, k = rope(q), rope(k)              in layers that have it
//   a  = attention(q, k, v)
//   r2 = r1 + o_proj(a)
//   h2 = rmsnorm(r2)
//   g, up = gate_up_proj(h2)
//   delta' = down_proj(gate(g) up)
//
// Where norms stand, and what is multiplied, between the stream and attention or the MLP, is in sublayer.h.
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
    float eps = 0, norm_addend = 0;  // of norms, and of their weights
    ModelConfig::QkNorm qk_norm = ModelConfig::QkNorm::none;
    Gate gate = Gate::silu;
    LayerConfig layer;
    AttentionShape shape{};
    std::vector<NormVector> norms;  // those there are
    Sublayer<Device> attention, mlp;
    std::span<T> norm_q, norm_k;  // [D], or as wide as all heads
    QuantizedLinear<Device> linears[kLayersPerBlock];

    int64_t query_width() const { return int64_t{shape.n_heads} * shape.head_dim; }
    int64_t key_width() const { return int64_t{shape.n_kv_heads} * shape.head_dim; }
    int64_t qkv_width() const { return query_width() + 2 * key_width(); }
    // Of each linear: the sum of its adapters' ranks.
    std::array<int64_t, kLayersPerBlock> ranks() const {
        return {linears[kQkv].rank(), linears[kAttentionOutput].rank(), linears[kGateUp].rank(), linears[kDown].rank()};
    }
    bool has(BlockNorm norm) const {
        return std::ranges::any_of(norms, [&](const NormVector& vector) { return vector.place == norm; });
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

    // Takes the stream [N,C] below the block and returns the one above it, which lies in saved.around_mlp.residual and
    // ws.branch. With a cache, keys and values are appended to it, and a single token attends to all of it.
    Stream<Device> forward(const Device& device, Stream<Device> in, const SequenceInfo<Device>& sequences,
                           const BlockActivations<Device>& saved, const PassInfo& pass, BlockWorkspace<Device>& ws,
                           KeyValueCache<Device>* cache = nullptr) {
        const int64_t n = in.x.rows;
        const BlockActivations<Device> kept = saved.first_rows(n);
        const Matrix<T> normed = ws.normed.first_rows(n), branch = ws.branch.first_rows(n),
                        activated = ws.activated.first_rows(n);

        // r1 = x + delta, h1 = rmsnorm(r1)
        const LinearInput<Device> h1 = attention.input(normed, kept.around_attention, in.x, in.delta);
        // q, k, v = qkv_proj(h1)
        linears[kQkv].forward(device, kept.qkv, h1, kept.z[kQkv], pass, ws.linear);
        // q, k = rmsnorm(q), rmsnorm(k)
        if (!norm_q.empty()) norm_queries_and_keys(device, kept);
        // q, k = rope(q), rope(k)
        if (layer.has_rope) {
            const Rotation<Device>& rotation = sequences.rotation(layer.local_rope);
            rope_forward<T>(device, queries_and_keys(kept.qkv), rotation.cos, rotation.sin, sequences.rope_rows,
                            shape.head_dim);
        }
        // a = attention(q, k, v)
        attend(device, kept, sequences, ws, cache);
        // branch = o_proj(a)
        const PlainInput<Device> a{kept.attention};
        linears[kAttentionOutput].forward(device, attention.output(branch, kept.around_attention), a,
                                          kept.z[kAttentionOutput], pass, ws.linear);
        attention.finish(device, branch, kept.around_attention);

        // r2 = r1 + branch, h2 = rmsnorm(r2)
        const LinearInput<Device> h2 = mlp.input(normed, kept.around_mlp, kept.around_attention.residual, branch);
        // g, up = gate_up_proj(h2)
        linears[kGateUp].forward(device, kept.gate_up, h2, kept.z[kGateUp], pass, ws.linear);
        // delta' = down_proj(gate(g) up)
        const ActivatedInput<Device> gated{activated, kept.gate_up, gate};
        linears[kDown].forward(device, mlp.output(branch, kept.around_mlp), gated, kept.z[kDown], pass, ws.linear);
        mlp.finish(device, branch, kept.around_mlp);
        return {kept.around_mlp.residual, branch};
    }

    // dr [N,C]: on entry the gradient of the stream above the block, on return that of the one below it. If
    // `trained_below` is false, nothing below the block has adapters, and the pass ends at this block's lowest one.
    void backward(const Device& device, Matrix<T> dr, const SequenceInfo<Device>& sequences,
                  const BlockActivations<Device>& saved, const PassInfo& pass, BlockWorkspace<Device>& ws,
                  bool trained_below) {
        const int64_t n = dr.rows;
        const BlockActivations<Device> kept = saved.first_rows(n);
        const Matrix<T> normed = ws.normed.first_rows(n), activated = ws.activated.first_rows(n);
        const Matrix<T> dbranch = ws.dbranch.first_rows(n);
        const Matrix<T> dnormed = ws.dnormed.first_rows(n), dattention = ws.dattention.first_rows(n);
        const Matrix<T> dqkv = ws.dqkv.first_rows(n), dactivated = ws.dactivated.first_rows(n);
        const Matrix<T> none;
        // trained[k]: some adapter lies below the input of linear k.
        bool trained[kLayersPerBlock + 1] = {trained_below};
        for (int k = 0; k < kLayersPerBlock; k++) trained[k + 1] = trained[k] || linears[k].rank() > 0;

        // delta' = down_proj(gate(g) up)
        swiglu_forward<T>(device, activated, kept.gate_up, gate);
        const Matrix<const T> ddelta = mlp.output_gradient(device, dbranch, dr, kept.around_mlp);
        linears[kDown].backward(device, trained[kDown] ? dactivated : none, ddelta, activated, kept.z[kDown], pass,
                                ws.linear);
        if (!trained[kDown]) return;
        const Matrix<T> dgate_up = kept.gate_up;  // in place: nobody reads gate_up after this
        swiglu_backward<T>(device, dgate_up, dactivated, kept.gate_up, gate);
        // g, up = gate_up_proj(h2)
        const Matrix<const T> h2 = mlp.input_again(device, normed, kept.around_mlp);
        linears[kGateUp].backward(device, trained[kGateUp] ? dnormed : none, dgate_up, h2, kept.z[kGateUp], pass,
                                  ws.linear);
        if (!trained[kGateUp]) return;
        // h2 = rmsnorm(r2): dr becomes the gradient of r2
        mlp.add_input_gradient(device, dr, dnormed, kept.around_mlp);

        // r2 = r1 + o_proj(a)
        const Matrix<const T> do_proj = attention.output_gradient(device, dbranch, dr, kept.around_attention);
        linears[kAttentionOutput].backward(device, trained[kAttentionOutput] ? dattention : none, do_proj,
                                           kept.attention, kept.z[kAttentionOutput], pass, ws.linear);
        if (!trained[kAttentionOutput]) return;
        // a = attention(q, k, v)
        attention_backward<T>(device, dqkv, dattention, kept.attention, kept.lse, kept.qkv, sequences.cu_seqlens,
                              sequences.max_sequence_length, shape, ws.attention);
        // q, k = rope(q), rope(k)
        if (layer.has_rope) {
            const Rotation<Device>& rotation = sequences.rotation(layer.local_rope);
            rope_backward<T>(device, queries_and_keys(dqkv), rotation.cos, rotation.sin, sequences.rope_rows,
                             shape.head_dim);
        }
        // q, k = rmsnorm(q), rmsnorm(k)
        if (!norm_q.empty()) norm_queries_and_keys_backward(device, dqkv, kept);
        // q, k, v = qkv_proj(h1)
        const Matrix<const T> h1 = attention.input_again(device, normed, kept.around_attention);
        linears[kQkv].backward(device, trained[kQkv] ? dnormed : none, dqkv, h1, kept.z[kQkv], pass, ws.linear);
        if (!trained[kQkv]) return;
        // h1 = rmsnorm(r1): dr becomes the gradient of r1
        attention.add_input_gradient(device, dr, dnormed, kept.around_attention);
    }

  private:
    NormWeight<T> norm_weight(std::span<T> weights) const { return {weights.data(), norm_addend}; }
    // Of qkv, or of unnormed_qk. v is neither normed nor rotated.
    Matrix<T> queries(const Matrix<T>& qkv) const { return qkv.columns(0, query_width()); }
    Matrix<T> keys(const Matrix<T>& qkv) const { return qkv.columns(query_width(), key_width()); }
    Matrix<T> queries_and_keys(const Matrix<T>& qkv) const { return qkv.columns(0, query_width() + key_width()); }
    // Norms of the queries, and of the keys, of a token.
    int64_t query_norms() const { return qk_norm == ModelConfig::QkNorm::heads ? shape.n_heads : 1; }
    int64_t key_norms() const { return qk_norm == ModelConfig::QkNorm::heads ? shape.n_kv_heads : 1; }
    Matrix<float> of_queries(const Matrix<float>& rstd) const { return rstd.columns(0, query_norms()); }
    Matrix<float> of_keys(const Matrix<float>& rstd) const { return rstd.columns(query_norms(), key_norms()); }

    void norm_queries_and_keys(const Device& device, const BlockActivations<Device>& kept) const {
        head_norm_forward<T>(device, queries(kept.qkv), queries(kept.unnormed_qk), of_queries(kept.rstd_qk),
                             norm_weight(norm_q), eps);
        head_norm_forward<T>(device, keys(kept.qkv), keys(kept.unnormed_qk), of_keys(kept.rstd_qk), norm_weight(norm_k),
                             eps);
    }
    void norm_queries_and_keys_backward(const Device& device, Matrix<T> dqkv,
                                        const BlockActivations<Device>& kept) const {
        head_norm_backward<T>(device, queries(dqkv), queries(kept.unnormed_qk), of_queries(kept.rstd_qk),
                              norm_weight(norm_q));
        head_norm_backward<T>(device, keys(dqkv), keys(kept.unnormed_qk), of_keys(kept.rstd_qk), norm_weight(norm_k));
    }

    // Sets what differs between the layers.
    void become(const LayerConfig& its_layer) {
        layer = its_layer;
        shape.window = static_cast<int>(layer.sliding_window);
    }
    std::span<T>& weight_of(BlockNorm norm) {
        switch (norm) {
            case kBeforeAttention:
                return attention.norm_before;
            case kAfterAttention:
                return attention.norm_after;
            case kBeforeMlp:
                return mlp.norm_before;
            case kAfterMlp:
                return mlp.norm_after;
            case kQueryNorm:
                return norm_q;
            case kKeyNorm:
                return norm_k;
        }
        fail("a norm without a place in a block");
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
             .scale = config.attention_multiplier > 0 ? static_cast<float>(config.attention_multiplier)
                                                      : 1.0f / std::sqrt(static_cast<float>(config.head_dim)),
             .soft_cap = static_cast<float>(config.attn_logit_softcapping)};
    qk_norm = config.qk_norm;
    gate = config.gate;
    norms = block_norms(config);
    attention.multiplier = mlp.multiplier = static_cast<float>(config.residual_multiplier);
    norm_addend = config.norms_add_one ? 1.0f : 0.0f;
    attention.eps = mlp.eps = eps;
    attention.norm_addend = mlp.norm_addend = norm_addend;
    become(config.layers.at(static_cast<size_t>(index)));

    const std::vector<JointLinear> joints = joint_linears(config);
    for (int k = 0; k < kLayersPerBlock; k++) {
        const LinearShape its_shape{.module = block_name(config, index) + "." + joints[k].name,
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
        for (const NormVector& norm : norms)
            arena.place(weight_of(norm.place), MemoryKind::weights, norm.name.substr(norm.name.rfind('.') + 1),
                        norm.size);
    }
    for (QuantizedLinear<Device>& linear : linears) linear.layout(arena, device);
}

template <class Device>
void Block<Device>::load(const Device& device, const ModelFiles& checkpoint, int64_t index,
                         std::vector<float>& staging) {
    const std::string owner = block_name(checkpoint.config(), index) + ".";
    const auto read = [&](const std::string& name, std::span<T> vector) {
        fill_from_host(device, Matrix<T>(vector.data(), 1, static_cast<int64_t>(vector.size())),
                       [&](Matrix<float> host) { checkpoint.read(owner + name, host); });
    };
    for (const NormVector& norm : norms) read(norm.name + ".weight", weight_of(norm.place));
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
    arena.place(saved.around_attention.residual, MemoryKind::activations, "residual_attention", n, hidden_size);
}

template <class Device>
void Block<Device>::layout_activations(Arena<Device>& arena, BlockActivations<Device>& saved, int64_t n,
                                       const std::array<int64_t, kLayersPerBlock>& ranks) const {
    const MemoryKind kind = MemoryKind::activations;
    const auto place_around = [&](SublayerActivations<Device>& around, const std::string& name, BlockNorm before,
                                  BlockNorm after) {
        arena.place(around.rstd, kind, "rstd_" + name, has(before) ? n : 0);
        arena.place(around.unnormed, kind, "unnormed_" + name, has(after) ? n : 0, hidden_size);
        arena.place(around.rstd_after, kind, "rstd_after_" + name, has(after) ? n : 0);
    };
    arena.place(saved.around_mlp.residual, kind, "residual_mlp", n, hidden_size);
    place_around(saved.around_attention, "attention", kBeforeAttention, kAfterAttention);
    place_around(saved.around_mlp, "mlp", kBeforeMlp, kAfterMlp);
    arena.place(saved.qkv, kind, "qkv", n, qkv_width());
    arena.place(saved.unnormed_qk, kind, "unnormed_qk", n, has(kQueryNorm) ? query_width() + key_width() : 0);
    arena.place(saved.rstd_qk, kind, "rstd_qk", n, has(kQueryNorm) ? query_norms() + key_norms() : 0);
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
    arena.place(ws.normed, kind, "normed", has(kBeforeAttention) ? n : 0, hidden_size);
    arena.place(ws.branch, kind, "branch", n, hidden_size);
    arena.place(ws.activated, kind, "activated", n, intermediate_size);
    arena.place(ws.dnormed, kind, "dnormed", n_backward, hidden_size);
    const bool changes_output = has(kAfterAttention) || attention.multiplier != 1;
    arena.place(ws.dbranch, kind, "dbranch", changes_output ? n_backward : 0, hidden_size);
    arena.place(ws.dattention, kind, "dattention", n_backward, query_width());
    arena.place(ws.dqkv, kind, "dqkv", n_backward, qkv_width());
    arena.place(ws.dactivated, kind, "dactivated", n_backward, intermediate_size);
    arena.place(ws.attention, kind, "attention tiles", attention_workspace(device, shape, n));
}

}  // namespace quaff
