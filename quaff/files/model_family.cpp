#include "quaff/files/model_family.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "llmc/core/error.h"

namespace quaff {

using Architecture = ModelConfig::Architecture;
using Norms = ModelConfig::Norms;
using QkNorm = ModelConfig::QkNorm;

namespace {

constexpr Family kGemma3 = {.architecture = Architecture::gemma3_text,
                            .model_type = "gemma3_text",
                            .class_name = "Gemma3ForCausalLM",
                            .vocab_size = 262208,
                            .num_attention_heads = 8,
                            .num_key_value_heads = 4,
                            .head_dim = 256,
                            .max_position_embeddings = 131072,
                            .rope_theta = 1e6,
                            .tie_word_embeddings = true,
                            .bos_token_id = 2,
                            .eos_token_id = 1,
                            .window = Family::Window::between_full_layers,
                            .sliding_window = 4096,
                            .full_layer_interval = 6,
                            .attention_bias = Family::Bias::as_config_says,
                            .norms = Norms::around,
                            .qk_norm = QkNorm::heads,
                            .norms_add_one = true,
                            .gate = Gate::gelu_tanh,
                            .rope_local_base_freq = 10000,
                            .scales_embedding_by_width = true,
                            .query_pre_attn_scalar = 256,
                            .final_logit_softcapping = 0};

// The language model of a multimodal Gemma 3.
constexpr Family gemma3_wrapper() {
    Family family = kGemma3;
    family.architecture = Architecture::gemma3;
    family.model_type = "gemma3";
    family.class_name = "Gemma3ForConditionalGeneration";
    family.final_logit_softcapping = -1;
    family.wraps_text = true;
    return family;
}

constexpr Family kFamilies[] = {
    {.architecture = Architecture::llama,
     .model_type = "llama",
     .class_name = "LlamaForCausalLM",
     .max_position_embeddings = 2048,
     .bos_token_id = 1,
     .eos_token_id = 2,
     .attention_bias = Family::Bias::as_config_says,
     .mlp_bias = Family::Bias::as_config_says},
    {.architecture = Architecture::mistral,
     .model_type = "mistral",
     .class_name = "MistralForCausalLM",
     .num_key_value_heads = 8,
     .max_position_embeddings = 131072,
     .bos_token_id = 1,
     .eos_token_id = 2,
     .window = Family::Window::everywhere,
     .sliding_window = 4096},
    {.architecture = Architecture::phi3,
     .model_type = "phi3",
     .class_name = "Phi3ForCausalLM",
     .max_position_embeddings = 4096,
     .rms_norm_eps = 1e-5,
     .bos_token_id = 1,
     .eos_token_id = 32000,
     .window = Family::Window::everywhere},
    {.architecture = Architecture::qwen2,
     .model_type = "qwen2",
     .class_name = "Qwen2ForCausalLM",
     .num_key_value_heads = 32,
     .max_position_embeddings = 32768,
     .window = Family::Window::upper_layers,
     .sliding_window = 4096,
     .attention_bias = Family::Bias::qkv},
    {.architecture = Architecture::qwen3,
     .model_type = "qwen3",
     .class_name = "Qwen3ForCausalLM",
     .num_key_value_heads = 32,
     .head_dim = 128,
     .max_position_embeddings = 32768,
     .window = Family::Window::upper_layers,
     .sliding_window = 4096,
     .attention_bias = Family::Bias::as_config_says,
     .qk_norm = QkNorm::heads},
    {.architecture = Architecture::smollm3,
     .model_type = "smollm3",
     .class_name = "SmolLM3ForCausalLM",
     .num_key_value_heads = 4,
     .max_position_embeddings = 32768,
     .rope_theta = 2e6,
     .tie_word_embeddings = true,
     .bos_token_id = 128000,
     .eos_token_id = 128001,
     .window = Family::Window::layers_without_rope,
     .attention_bias = Family::Bias::as_config_says,
     .mlp_bias = Family::Bias::as_config_says,
     .skips_rope = true},
    {.architecture = Architecture::granite,
     .model_type = "granite",
     .class_name = "GraniteForCausalLM",
     .max_position_embeddings = 2048,
     .bos_token_id = 1,
     .eos_token_id = 2,
     .attention_bias = Family::Bias::as_config_says,
     .mlp_bias = Family::Bias::as_config_says,
     .has_multipliers = true},
    {.architecture = Architecture::olmo2,
     .model_type = "olmo2",
     .class_name = "Olmo2ForCausalLM",
     .max_position_embeddings = 2048,
     .rms_norm_eps = 1e-5,
     .eos_token_id = 50279,
     .attention_bias = Family::Bias::as_config_says,
     .norms = Norms::after,
     .qk_norm = QkNorm::all},
    {.architecture = Architecture::gemma2,
     .model_type = "gemma2",
     .class_name = "Gemma2ForCausalLM",
     .vocab_size = 256000,
     .num_attention_heads = 8,
     .num_key_value_heads = 4,
     .head_dim = 256,
     .max_position_embeddings = 8192,
     .tie_word_embeddings = true,
     .bos_token_id = 2,
     .eos_token_id = 1,
     .window = Family::Window::between_full_layers,
     .sliding_window = 4096,
     .full_layer_interval = 2,
     .attention_bias = Family::Bias::as_config_says,
     .norms = Norms::around,
     .norms_add_one = true,
     .gate = Gate::gelu_tanh,
     .scales_embedding_by_width = true,
     .query_pre_attn_scalar = 256,
     .attn_logit_softcapping = 50,
     .final_logit_softcapping = 30},
    kGemma3,
    gemma3_wrapper(),
};

// Why a family that is not supported is another thing altogether, or "".
const char* kind_of_stranger(const JsonObject& config) {
    for (const char* experts : {"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"}) {
        if (config.has(experts)) return ", a mixture of experts,";
    }
    for (const char* linear : {"linear_conv_kernel_dim", "ssm_cfg", "mamba_d_state", "conv_L_cache", "state_size"}) {
        if (config.has(linear)) return ", which has layers without attention,";
    }
    if (config.has("vision_config") || config.has("audio_config")) return ", which reads more than text,";
    return "";
}

}  // namespace

std::string supported_families() {
    std::string list;
    for (const Family& family : kFamilies) {
        const bool last = &family == std::end(kFamilies) - 1;
        list += concat(list.empty() ? "" : last ? " and " : ", ", family.model_type, " (", family.class_name, ")");
    }
    return list;
}

const Family& family_of(Architecture architecture) {
    for (const Family& family : kFamilies) {
        if (family.architecture == architecture) return family;
    }
    fail("an architecture without a family");
}

const char* name_of(Architecture architecture) {
    return family_of(architecture).model_type;
}

const Family& read_family(const JsonObject& config) {
    const std::string model_type = config.string("model_type", "");
    const std::vector<std::string> classes =
        config.has("architectures") ? config.strings("architectures") : std::vector<std::string>{};
    require(!model_type.empty() || !classes.empty(), config.file(),
            ": has neither \"model_type\" nor \"architectures\", so the kind of model is unknown; supported are ",
            supported_families());
    for (const Family& family : kFamilies) {
        if (!model_type.empty() ? model_type != family.model_type : classes[0] != family.class_name) continue;
        require(classes.empty() || classes[0] == family.class_name, config.field("architectures"), " names ",
                classes.empty() ? "" : classes[0], "; of model_type ", family.model_type, " only ", family.class_name,
                " is supported");
        return family;
    }
    fail(config.file(), ": the architecture ", model_type.empty() ? classes[0] : model_type, kind_of_stranger(config),
         " is not supported; supported are ", supported_families());
}

}  // namespace quaff
