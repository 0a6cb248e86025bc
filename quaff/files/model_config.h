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

#include "llmc/core/gate.h"
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
    enum class Architecture {
        llama,
        mistral,
        phi3,
        qwen2,
        qwen3,
        smollm3,
        granite,
        olmo2,
        gemma2,
        gemma3_text,
        gemma3
    };
    // Which RMSNorms a block has: of what its attention and its MLP read (LLaMA), of what they give (OLMo 2), of both.
    enum class Norms { before, after, around };
    // What is normed of the queries and of the keys, before RoPE: nothing, each head, or all heads as one.
    enum class QkNorm { none, heads, all };
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
    Norms norms = Norms::before;
    QkNorm qk_norm = QkNorm::none;
    bool norms_add_one = false;  // the file holds the weights of norms less 1
    Gate gate = Gate::silu;      // of the MLP
    bool tie_word_embeddings = false;
    double embedding_multiplier = 1;  // of the rows of the embedding that are looked up; a tied head is not multiplied
    double residual_multiplier = 1;   // of what attention and MLP add to the residual stream
    double attention_multiplier = 0;  // of the scores; 0: 1 / sqrt(head_dim)
    double logits_scaling = 1;        // the logits are divided by it
    double attn_logit_softcapping = 0;   // scores become c tanh(score / c); 0: they stay
    double final_logit_softcapping = 0;  // the same of the logits
    // Within the vocabulary. generation_config.json's if it has any, as in transformers, else config.json's.
    std::vector<int32_t> eos_token_ids;
    std::optional<int32_t> bos_token_id;
    RopeConfig rope;
    RopeConfig local_rope;           // of layers with LayerConfig::local_rope
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
    // Whether the model's files hold more than a language model.
    bool multimodal() const { return architecture == Architecture::gemma3; }
    // The module that holds the embedding, the blocks and the last norm, as transformers and PEFT name it.
    const char* decoder() const { return multimodal() ? "model.language_model" : "model"; }
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

// The norms that a block may have.
enum BlockNorm { kBeforeAttention, kAfterAttention, kBeforeMlp, kAfterMlp, kQueryNorm, kKeyNorm };
// The weight of one: a vector of a block beside its linears and their biases.
struct NormVector {
    BlockNorm place;
    std::string name;  // within the block: "input_layernorm", "self_attn.q_norm"
    int64_t size;
};
// Those that the blocks of a model have.
std::vector<NormVector> block_norms(const ModelConfig& config);

// "model.layers.0"; "model.language_model.layers.0" in a multimodal one.
std::string block_name(const ModelConfig& config, int64_t layer);

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
