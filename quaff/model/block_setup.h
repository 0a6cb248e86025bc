// What a Block does before the first step: names and shapes, memory, and reading its weights from the checkpoint.
// Included where Block is instantiated; block.h holds the passes.
#pragma once

#include <set>

#include "quaff/model/block.h"

namespace quaff {

// The format that the model's file has each linear in, in the order of linear_specs: F32 where its parts, or those of
// two blocks, differ.
inline std::vector<DType> stored_types(const ModelFiles& checkpoint) {
    std::vector<DType> types;
    for (const LinearSpec& spec : linear_specs(checkpoint.config())) {
        std::set<DType> found;
        for (int64_t layer = 0; layer < checkpoint.config().num_hidden_layers; layer++)
            for (const LinearPart& part : spec.parts)
                found.insert(checkpoint.dtype(concat("model.layers.", layer, ".", part.module, ".weight")));
        types.push_back(found.size() == 1 ? *found.begin() : DType::f32);
    }
    return types;
}

template <class Device>
void Block<Device>::configure(const ModelConfig& config, int64_t index, Method method,
                              const std::vector<std::vector<int32_t>>& channels, const std::vector<DType>& stored) {
    hidden_size = config.hidden_size;
    intermediate_size = config.intermediate_size;
    eps = static_cast<float>(config.rms_norm_eps);
    shape = {static_cast<int>(config.num_attention_heads), static_cast<int>(config.num_key_value_heads),
             static_cast<int>(config.head_dim), static_cast<int>(config.sliding_window),
             1.0f / std::sqrt(static_cast<float>(config.head_dim))};

    const std::vector<LinearSpec> specs = linear_specs(config);
    for (int k = 0; k < kLayersPerBlock; k++) {
        QuantizedLinear<Device>& linear = linears[k];
        linear.module = concat("model.layers.", index, ".", specs[k].module);
        linear.in_features = specs[k].in_features;
        linear.out_features = specs[k].out_features();
        linear.id = static_cast<uint32_t>(index * kLayersPerBlock + k);
        linear.method = method;
        linear.stored = stored[k];
        linear.has_bias = specs[k].bias;
        linear.channels = channels[k];
    }
}

template <class Device>
void Block<Device>::layout_weights(Arena<Device>& arena, const Device& device) {
    const std::string owner = linears[0].module.substr(0, linears[0].module.find(".self_attn"));
    norm_attention = arena.template vector<T>(MemoryKind::weights, owner + ".input_layernorm", hidden_size);
    norm_mlp = arena.template vector<T>(MemoryKind::weights, owner + ".post_attention_layernorm", hidden_size);
    for (QuantizedLinear<Device>& linear : linears) linear.layout(arena, device);
}

template <class Device>
void Block<Device>::load(const Device& device, const ModelFiles& checkpoint, int64_t index,
                         std::vector<float>& staging) {
    const std::string owner = concat("model.layers.", index, ".");
    const auto read = [&](const std::string& name, std::span<T> vector) {
        fill_from_host(device, Matrix<T>(vector.data(), 1, static_cast<int64_t>(vector.size())),
                       [&](Matrix<float> host) { checkpoint.read(owner + name, host); });
    };
    read("input_layernorm.weight", norm_attention);
    read("post_attention_layernorm.weight", norm_mlp);

    const std::vector<LinearSpec> specs = linear_specs(checkpoint.config());
    for (int k = 0; k < kLayersPerBlock; k++) {
        QuantizedLinear<Device>& linear = linears[k];
        int64_t out_begin = 0;
        for (const LinearPart& part : specs[k].parts) {
            const int64_t out = part.out_features;
            staging.resize(std::max(staging.size(), static_cast<size_t>(out * linear.in_features)));
            const Matrix<float> w(staging.data(), out, linear.in_features);
            checkpoint.read(owner + part.module + ".weight", w);
            linear.load_rows(device, out_begin, w);
            if (linear.has_bias) read(part.module + ".bias", linear.bias.subspan(out_begin, out));
            out_begin += out;
        }
    }
}

template <class Device>
void Block<Device>::layout_input(Arena<Device>& arena, BlockActivations<Device>& saved, const std::string& owner,
                                 int64_t n) const {
    saved.residual_attention =
        arena.template matrix<T>(MemoryKind::activations, owner + ".residual_attention", n, hidden_size);
}

template <class Device>
void Block<Device>::layout_activations(Arena<Device>& arena, BlockActivations<Device>& saved, const std::string& owner,
                                       int64_t n) const {
    const MemoryKind kind = MemoryKind::activations;
    saved.residual_mlp = arena.template matrix<T>(kind, owner + ".residual_mlp", n, hidden_size);
    saved.rstd_attention = arena.template vector<float>(kind, owner + ".rstd_attention", n);
    saved.rstd_mlp = arena.template vector<float>(kind, owner + ".rstd_mlp", n);
    saved.qkv = arena.template matrix<T>(kind, owner + ".qkv", n, query_width() + 2 * key_width());
    saved.attention = arena.template matrix<T>(kind, owner + ".attention", n, query_width());
    saved.lse = arena.template matrix<float>(kind, owner + ".lse", n, shape.n_heads);
    saved.gate_up = arena.template matrix<T>(kind, owner + ".gate_up", n, 2 * intermediate_size);
    for (int k = 0; k < kLayersPerBlock; k++)
        saved.z[k] = arena.template matrix<T>(kind, owner + ".z" + std::to_string(k), n, linears[k].rank());
}

template <class Device>
void Block<Device>::layout_workspace(Arena<Device>& arena, const Device& device, BlockWorkspace<Device>& ws, int64_t n,
                                     bool training) const {
    const MemoryKind kind = MemoryKind::workspace;
    const int64_t n_backward = training ? n : 0;
    ws.normed = arena.template matrix<T>(kind, "normed", n, hidden_size);
    ws.branch = arena.template matrix<T>(kind, "branch", n, hidden_size);
    ws.activated = arena.template matrix<T>(kind, "activated", n, intermediate_size);
    ws.dnormed = arena.template matrix<T>(kind, "dnormed", n_backward, hidden_size);
    ws.dattention = arena.template matrix<T>(kind, "dattention", n_backward, query_width());
    ws.dqkv = arena.template matrix<T>(kind, "dqkv", n_backward, query_width() + 2 * key_width());
    ws.dactivated = arena.template matrix<T>(kind, "dactivated", n_backward, intermediate_size);
    ws.attention = arena.template vector<float>(kind, "attention tiles", attention_workspace(device, shape, n));
}

}  // namespace quaff
