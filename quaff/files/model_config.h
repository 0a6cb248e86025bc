// config.json: what a Hugging Face model directory says about its network, checked before anything is allocated.
//
// Fields have Hugging Face's names. A field that the file leaves out has the default of its family in transformers
// (model_family.h). What this program would compute otherwise than transformers is refused by name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "quaff/files/layer_config.h"
#include "quaff/files/rope_config.h"

namespace quaff {

// A sum of K products of int8 values in [-127, 127] fits into int32 for K up to (2^31 - 1) / 127^2. Both extents of
// every frozen matrix are summed over, one in the forward and one in the backward pass.
constexpr int64_t kMaxChannels = 133'144;
constexpr int64_t kMaxVocabSize = int64_t{1} << 24;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxHeads = 1024;
constexpr int64_t kMaxHeadDim = 512;
constexpr int64_t kMaxPositions = int64_t{1} << 30;

struct ModelConfig {
    enum class Architecture { llama, mistral, phi3, qwen2, qwen3, smollm3 };
    Architecture architecture = Architecture::llama;
    int64_t vocab_size = 0;
    int64_t hidden_size = 0;
    int64_t intermediate_size = 0;
    int64_t num_hidden_layers = 0;
    int64_t num_attention_heads = 0;
    int64_t num_key_value_heads = 0;
    int64_t head_dim = 0;
    int64_t max_position_embeddings = 0;
    double rms_norm_eps = 1e-6;
    std::vector<LayerConfig> layers;  // [num_hidden_layers]
    bool qkv_bias = false, o_bias = false, mlp_bias = false;
    bool qk_norm = false;  // RMSNorm of each head of the queries and keys, before RoPE
    bool tie_word_embeddings = false;
    // Within the vocabulary. generation_config.json's if it has any, as in transformers, else config.json's.
    std::vector<int32_t> eos_token_ids;
    std::optional<int32_t> bos_token_id;
    RopeConfig rope;
    std::vector<std::string> notes;  // sentences for the user about what was ignored, with file and field

    // Channels of the queries, and of the keys (and of the values).
    int64_t q_size() const { return num_attention_heads * head_dim; }
    int64_t kv_size() const { return num_key_value_heads * head_dim; }
    // Channels of a head that RoPE turns; the others pass through.
    int64_t rotary_dim() const {
        return static_cast<int64_t>(static_cast<double>(head_dim) * rope.partial_rotary_factor);
    }
    // Phi-3 stores q, k and v as one tensor, and gate and up as one; the others store each by itself.
    bool fused() const { return architecture == Architecture::phi3; }
};

// A frozen linear layer as the checkpoint stores it: W[out_features, in_features].
struct LinearPart {
    std::string name;  // "self_attn.q_proj"
    int64_t out_features;
};

// The linear layers that read the same input, as one matrix: their rows one below the other, in this order. It is what
// is quantized, and what has outlier channels and their scales.
struct JointLinear {
    std::string name;  // "self_attn.qkv_proj"
    int64_t in_features;
    bool bias;
    std::vector<LinearPart> parts;

    int64_t out_features() const;
};

// A vector of a block beside its linears and their biases: the weight of a norm.
struct NormVector {
    std::string name;  // "input_layernorm", "self_attn.q_norm"
    int64_t size;
};
// Those of a block, by their names within it.
std::vector<NormVector> block_norms(const ModelConfig& config);

// "model.layers.0"
std::string block_name(int64_t layer);

// The joint linears of a block, by their names within it, in the order of the forward pass. All blocks have the same.
std::vector<JointLinear> joint_linears(const ModelConfig& config);
// The joint linears of all blocks, in the order of the forward pass, by their full names:
// "model.layers.0.self_attn.qkv_proj".
std::vector<JointLinear> all_joint_linears(const ModelConfig& config);

// Calls visit(joint, part) for every linear layer of the model, with full names, in the order of the forward pass.
template <class Visit>
void for_each_linear(const ModelConfig& config, const Visit& visit) {
    for (const JointLinear& joint : all_joint_linears(config))
        for (const LinearPart& part : joint.parts) visit(joint, part);
}

// "llama", "mistral", ..
const char* name_of(ModelConfig::Architecture architecture);

// Throws Error, with the command that converts it, for the name of a GGUF file.
void refuse_gguf(const std::filesystem::path& file);

// Reads config.json, and eos_token_id of generation_config.json. Throws Error, naming the field, when a value cannot be
// true or is not supported. What it ignores instead is in `notes`.
ModelConfig read_model_config(const std::filesystem::path& directory);

}  // namespace quaff
