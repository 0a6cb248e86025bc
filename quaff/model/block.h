// One transformer block, forward and backward by hand. LLaMA, Mistral and Phi-3 share it: their q, k, v (and gate, up)
// are one joint linear here.
//
//   r1 = x + delta                       the residual stream, with what the block below wants added
//   h  = rmsnorm(r1)
//   q, k, v = rope(qkv_proj(h))          v is not rotated
//   r2 = r1 + o_proj(attention(q, k, v))
//   h  = rmsnorm(r2)
//   delta' = down_proj(silu(gate) up),   gate, up = gate_up_proj(h)
//
// The block hands (r2, delta') to the one above, whose first norm adds them: the addition costs no trip to memory of
// its own. backward takes dr, the gradient of r2 + delta', and turns it into the gradient of r1, accumulating the
// adapters'.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "quaff/files/model_config.h"
#include "quaff/files/model_files.h"
#include "quaff/model/quantized_linear.h"

namespace quaff {

// The four joint linears of a block, in the order they run.
enum Layer { kQkv, kAttentionOutput, kGateUp, kDown, kLayersPerBlock };
std::vector<LinearSpec> linear_specs(const ModelConfig& config);

// Throws UsageError unless every target is a linear of the blocks, by its last name or the longer one within a block. A
// single layer's cannot be named: PEFT's format has one list for all layers.
void require_known_targets(const std::vector<std::string>& targets, const ModelConfig& config);

// What backward reads. N tokens; H heads and K key/value heads of D channels.
template <class Device>
struct BlockActivations {
    using T = typename Device::compute_t;
    Matrix<T> residual_attention;     // r1 [N,C]: the block's input; all that recomputing it needs
    Matrix<T> residual_mlp;           // r2 [N,C]
    std::span<float> rstd_attention;  // [N]
    std::span<float> rstd_mlp;        // [N]
    Matrix<T> qkv;                    // after rope [N,(H+2K)D]
    Matrix<T> attention;              // [N,HD]
    Matrix<float> lse;                // log-sum-exp of the scores [N,H]
    Matrix<T> gate_up;                // [N,2F]
    Matrix<T> z[kLayersPerBlock];     // dropout(x) A^T of each linear [N,R]
};

// Scratch that lives inside one block's pass.
template <class Device>
struct BlockWorkspace {
    using T = typename Device::compute_t;
    Matrix<T> normed;            // h, or its gradient's sibling: input of qkv_proj and gate_up_proj [N,C]
    Matrix<T> branch;            // output of o_proj; delta' of the block [N,C]
    Matrix<T> activated;         // silu(gate) up [N,F]
    Matrix<T> dnormed;           // [N,C]
    Matrix<T> dattention;        // [N,HD]
    Matrix<T> dqkv;              // [N,(H+2K)D]
    Matrix<T> dactivated;        // [N,F]
    std::span<float> attention;  // of the attention operator
    LinearWorkspace<Device> linear;
};

// Keys and values of the tokens seen so far, for generation. One per block.
template <class Device>
struct KeyValueCache {
    using T = typename Device::compute_t;
    Matrix<T> keys, values;  // [max_length, K D]
    int64_t length = 0;
};

// Where the tokens of a micro-batch stand.
template <class Device>
struct SequenceInfo {
    std::span<const int32_t> cu_seqlens;  // [S+1], on the device
    int64_t max_sequence_length;
    std::span<const int32_t> rope_rows;  // [N], on the device
    Matrix<const float> cos, sin;
};

template <class Device>
class Block {
  public:
    using T = typename Device::compute_t;

    int64_t hidden_size = 0, intermediate_size = 0;
    float eps = 0;
    AttentionShape shape{};
    std::span<T> norm_attention, norm_mlp;  // [C]
    QuantizedLinear<Device> linears[kLayersPerBlock];

    int64_t query_width() const { return int64_t{shape.n_heads} * shape.head_dim; }
    int64_t key_width() const { return int64_t{shape.n_kv_heads} * shape.head_dim; }

    // Names and shapes of layer `index`; `channels` in the order of linear_specs, empty lists for --method fp, `stored`
    // in the same order (stored_types()).
    void configure(const ModelConfig& config, int64_t index, Method method,
                   const std::vector<std::vector<int32_t>>& channels, const std::vector<DType>& stored);
    void layout_weights(Arena<Device>& arena, const Device& device);
    // Reads the layer's tensors from the checkpoint, quantising each as soon as it is read.
    void load(const Device& device, const ModelFiles& checkpoint, int64_t index, std::vector<float>& staging);

    // x and delta [N,C] in, delta may have null data. Out: saved.residual_mlp and workspace.branch, the next block's x
    // and delta. With a cache, keys and values are appended to it, and a single token attends to all of it.
    void forward(const Device& device, Matrix<const T> x, Matrix<const T> delta, const SequenceInfo<Device>& sequences,
                 BlockActivations<Device>& saved, const PassInfo& pass, BlockWorkspace<Device>& ws,
                 KeyValueCache<Device>* cache = nullptr) {
        const int64_t n = x.rows;
        BlockActivations<Device> kept = first_rows(saved, n);
        const Matrix<T> normed = ws.normed.first_rows(n), branch = ws.branch.first_rows(n),
                        activated = ws.activated.first_rows(n);

        const NormedInput<Device> attention_input{
            normed, kept.residual_attention, kept.rstd_attention.data(), x, delta, norm_attention.data(), eps};
        linears[kQkv].forward(device, kept.qkv, attention_input, kept.z[kQkv], pass, ws.linear);
        rope_forward<T>(device, kept.qkv.columns(0, query_width() + key_width()), sequences.cos, sequences.sin,
                        sequences.rope_rows, shape.head_dim);
        attend(device, kept, sequences, ws, cache);
        linears[kAttentionOutput].forward(device, branch, PlainInput<Device>{kept.attention}, kept.z[kAttentionOutput],
                                          pass, ws.linear);

        const NormedInput<Device> mlp_input{
            normed, kept.residual_mlp, kept.rstd_mlp.data(), kept.residual_attention, branch, norm_mlp.data(), eps};
        linears[kGateUp].forward(device, kept.gate_up, mlp_input, kept.z[kGateUp], pass, ws.linear);
        linears[kDown].forward(device, branch, ActivatedInput<Device>{activated, kept.gate_up}, kept.z[kDown], pass,
                               ws.linear);
    }

    // dr [N,C]: gradient of the block's output stream in, of its input stream out. Where `trained_below` is false
    // nothing under the block has adapters, and the gradient is followed no further down than this block's lowest
    // adapter.
    void backward(const Device& device, Matrix<T> dr, const SequenceInfo<Device>& sequences,
                  BlockActivations<Device>& saved, const PassInfo& pass, BlockWorkspace<Device>& ws,
                  bool trained_below) {
        const int64_t n = dr.rows;
        BlockActivations<Device> kept = first_rows(saved, n);
        const Matrix<T> normed = ws.normed.first_rows(n), activated = ws.activated.first_rows(n);
        const Matrix<T> dnormed = ws.dnormed.first_rows(n), dattention = ws.dattention.first_rows(n);
        const Matrix<T> dqkv = ws.dqkv.first_rows(n), dactivated = ws.dactivated.first_rows(n);
        const Matrix<T> none;
        // trained[k]: some adapter lies below the input of linear k.
        bool trained[kLayersPerBlock + 1] = {trained_below};
        for (int k = 0; k < kLayersPerBlock; k++) trained[k + 1] = trained[k] || linears[k].rank() > 0;

        swiglu_forward<T>(device, activated, kept.gate_up);
        linears[kDown].backward(device, trained[kDown] ? dactivated : none, dr, activated, kept.z[kDown], pass,
                                ws.linear);
        if (!trained[kDown]) return;
        const Matrix<T> dgate_up = kept.gate_up;  // in place: nobody reads gate_up after this
        swiglu_backward<T>(device, dgate_up, dactivated, kept.gate_up);
        rmsnorm_apply<T>(device, normed, kept.residual_mlp, kept.rstd_mlp.data(), norm_mlp.data());
        linears[kGateUp].backward(device, trained[kGateUp] ? dnormed : none, dgate_up, normed, kept.z[kGateUp], pass,
                                  ws.linear);
        if (!trained[kGateUp]) return;
        rmsnorm_backward<T>(device, dr, dnormed, kept.residual_mlp, kept.rstd_mlp.data(), norm_mlp.data());

        linears[kAttentionOutput].backward(device, trained[kAttentionOutput] ? dattention : none, dr, kept.attention,
                                           kept.z[kAttentionOutput], pass, ws.linear);
        if (!trained[kAttentionOutput]) return;
        attention_backward<T>(device, dqkv, dattention, kept.attention, kept.lse, kept.qkv, sequences.cu_seqlens,
                              sequences.max_sequence_length, shape, ws.attention);
        rope_backward<T>(device, dqkv.columns(0, query_width() + key_width()), sequences.cos, sequences.sin,
                         sequences.rope_rows, shape.head_dim);
        rmsnorm_apply<T>(device, normed, kept.residual_attention, kept.rstd_attention.data(), norm_attention.data());
        linears[kQkv].backward(device, trained_below ? dnormed : none, dqkv, normed, kept.z[kQkv], pass, ws.linear);
        if (trained_below)
            rmsnorm_backward<T>(device, dr, dnormed, kept.residual_attention, kept.rstd_attention.data(),
                                norm_attention.data());
    }

    // Buffers for `n` tokens. The names carry `owner` ("block 3"). layout_input: what a recomputed block keeps of its
    // own.
    void layout_input(Arena<Device>& arena, BlockActivations<Device>& saved, const std::string& owner, int64_t n) const;
    void layout_activations(Arena<Device>& arena, BlockActivations<Device>& saved, const std::string& owner,
                            int64_t n) const;
    void layout_workspace(Arena<Device>& arena, const Device& device, BlockWorkspace<Device>& ws, int64_t n,
                          bool training) const;

  private:
    void attend(const Device& device, BlockActivations<Device>& kept, const SequenceInfo<Device>& sequences,
                BlockWorkspace<Device>& ws, KeyValueCache<Device>* cache) {
        const int64_t n = kept.qkv.rows;
        if (cache) {
            copy<T>(device, cache->keys.rows_at(cache->length, n), kept.qkv.columns(query_width(), key_width()));
            copy<T>(device, cache->values.rows_at(cache->length, n),
                    kept.qkv.columns(query_width() + key_width(), key_width()));
            cache->length += n;
        }
        if (cache && cache->length > n) {
            attention_decode<T>(device, kept.attention, kept.qkv.columns(0, query_width()),
                                cache->keys.first_rows(cache->length), cache->values.first_rows(cache->length), shape);
        } else {
            attention_forward<T>(device, kept.attention, kept.lse, kept.qkv, sequences.cu_seqlens,
                                 sequences.max_sequence_length, shape, ws.attention);
        }
    }

    // The same buffers, as long as this micro-batch.
    static BlockActivations<Device> first_rows(const BlockActivations<Device>& saved, int64_t n) {
        BlockActivations<Device> part = saved;
        for (Matrix<T>* matrix :
             {&part.residual_attention, &part.residual_mlp, &part.qkv, &part.attention, &part.gate_up})
            *matrix = matrix->first_rows(n);
        part.lse = part.lse.first_rows(n);
        for (Matrix<T>& z : part.z) z = z.first_rows(n);
        return part;
    }
};

}  // namespace quaff
