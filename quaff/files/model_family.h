// The families of models that are read, as data: what transformers assumes where config.json is silent, which of its
// fields it follows, and what it computes beyond LLaMA.
#pragma once

#include "llmc/io/json.h"
#include "quaff/files/model_config.h"

namespace quaff {

using namespace llmc;

struct Family {
    // Which layers a window of sliding_window tokens limits: none; all; with use_sliding_window, those that layer_types
    // names, without layer_types those from max_window_layers on, or those without RoPE; those that layer_types names,
    // without it all but every full_layer_interval-th.
    enum class Window { none, everywhere, upper_layers, layers_without_rope, between_full_layers };
    // Which linears have a bias.
    enum class Bias { none, as_config_says, qkv };

    ModelConfig::Architecture architecture;
    const char* model_type;
    const char* class_name;

    int64_t vocab_size = 0;           // 0: config.json must say it
    int64_t num_attention_heads = 0;  // 0: the same
    int64_t num_key_value_heads = 0;  // 0: num_attention_heads
    int64_t head_dim = 0;             // 0: hidden_size / num_attention_heads
    int64_t max_position_embeddings;
    double rms_norm_eps = 1e-6;
    double rope_theta = 10000;
    bool tie_word_embeddings = false;
    int32_t bos_token_id = -1, eos_token_id = -1;  // -1: none

    Window window = Window::none;
    int64_t sliding_window = 0;  // 0: none
    int64_t full_layer_interval = 0;
    Bias attention_bias = Bias::none;  // of q, k, v and, as the config says, o
    Bias mlp_bias = Bias::none;
    ModelConfig::Norms norms = ModelConfig::Norms::before;
    ModelConfig::QkNorm qk_norm = ModelConfig::QkNorm::none;
    bool norms_add_one = false;
    Gate gate = Gate::silu;
    bool skips_rope = false;          // no_rope_layers, no_rope_layer_interval
    double rope_local_base_freq = 0;  // the theta of layers with a window; 0: that of all

    bool has_multipliers = false;            // embedding_multiplier, attention_multiplier and their kin
    bool scales_embedding_by_width = false;  // by sqrt(hidden_size), rounded to the type of the embedding
    double query_pre_attn_scalar = 0;        // scores are divided by its root; 0: by that of head_dim
    // Caps that transformers follows, as they are where the config is silent; 0: none, < 0: the config is not asked.
    double attn_logit_softcapping = -1, final_logit_softcapping = -1;
    bool wraps_text = false;  // a config of more than text, which has the language model's in text_config
};

const Family& family_of(ModelConfig::Architecture architecture);

// Of the model_type, or the class, that a config names. Throws Error for any other family, and for what is no causal
// language model.
const Family& read_family(const JsonObject& config);

// "llama (LlamaForCausalLM), mistral (MistralForCausalLM) and .."
std::string supported_families();

}  // namespace quaff
