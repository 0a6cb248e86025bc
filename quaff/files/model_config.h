// config.json: what a Hugging Face model directory says about its network, checked before anything is allocated.
//
// Fields have Hugging Face's names. A field that the file leaves out has the default of transformers' LlamaConfig,
// MistralConfig or Phi3Config. What this program would compute otherwise than transformers is refused by name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace quaff {

// Rotary position embedding: channel pair i of a head is turned by position * inv_freq[i], with
// inv_freq[i] = theta^(-2i / rotary_dim), changed by the type:
//   linear     / factor
//   llama3     / factor for wavelengths above original_max_position_embeddings / low_freq_factor, unchanged below
//              original_max_position_embeddings / high_freq_factor, blended in between
//   longrope   / long_factor[i] in sequences longer than original_max_position_embeddings, / short_factor[i] in others
struct RopeConfig {
    enum class Type { standard, linear, llama3, longrope };
    Type type = Type::standard;
    double theta = 10000;
    double partial_rotary_factor = 1;
    double factor = 1;
    double low_freq_factor = 1;
    double high_freq_factor = 1;
    int64_t original_max_position_embeddings = 0;
    std::vector<double> short_factor, long_factor;  // [rotary_dim / 2], longrope only
    double attention_factor = 1;                    // multiplies cos and sin
};

struct ModelConfig {
    enum class Architecture { llama, mistral, phi3 };
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
    int64_t sliding_window = 0;  // 0: none. Token i sees tokens i - sliding_window + 1 .. i
    bool attention_bias = false;
    bool mlp_bias = false;
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
    // Phi-3 stores q, k and v as one tensor, and gate and up as one; LLaMA and Mistral store each by itself.
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

// "llama", "mistral", "phi3"
const char* name_of(ModelConfig::Architecture architecture);

// Throws Error, with the command that converts it, for the name of a GGUF file.
void refuse_gguf(const std::filesystem::path& file);

// Reads config.json, and eos_token_id of generation_config.json. Throws Error, naming the field, when a value cannot be
// true or is not supported. What it ignores instead is in `notes`.
ModelConfig read_model_config(const std::filesystem::path& directory);

}  // namespace quaff
