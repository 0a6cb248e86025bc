// What the families differ in beyond LLaMA, as transformers 5.24 reads it.
#include "quaff/files/model_family.h"

#include <nlohmann/json.hpp>

#include "test/catch.h"
#include "test/quaff/config_json.h"

using namespace quaff;
using namespace test;
using nlohmann::json;
using Architecture = ModelConfig::Architecture;

namespace {

std::vector<int64_t> windows(const json& config) {
    std::vector<int64_t> all;
    for (const LayerConfig& layer : read_config(config).layers) all.push_back(layer.sliding_window);
    return all;
}

std::vector<bool> with_rope(const json& config) {
    std::vector<bool> all;
    for (const LayerConfig& layer : read_config(config).layers) all.push_back(layer.has_rope);
    return all;
}

// The least a config of the family must hold.
json bare(const std::string& model_type) {
    return {{"model_type", model_type},  {"vocab_size", 130000},   {"hidden_size", 64},
            {"intermediate_size", 12},   {"num_hidden_layers", 5}, {"num_attention_heads", 32},
            {"num_key_value_heads", 32}, {"head_dim", 2}};
}

using List = std::vector<int64_t>;

}  // namespace

TEST_CASE("what Qwen and SmolLM3 configs leave out is what transformers assumes", "[model_config]") {
    for (const char* model_type : {"qwen2", "qwen3", "smollm3"}) {
        CAPTURE(model_type);
        const ModelConfig config = read_config(bare(model_type));
        CHECK(config.max_position_embeddings == 32768);
        CHECK(config.rms_norm_eps == 1e-6);
        CHECK(config.notes.empty());
        CHECK(config.layers[4].sliding_window == 0);
        CHECK_FALSE(config.o_bias);
        CHECK_FALSE(config.mlp_bias);
    }
    const ModelConfig qwen2 = read_config(without(bare("qwen2"), "num_key_value_heads"));
    CHECK(qwen2.architecture == Architecture::qwen2);
    CHECK(qwen2.num_key_value_heads == 32);
    CHECK(qwen2.qkv_bias);
    CHECK(qwen2.qk_norm == ModelConfig::QkNorm::none);
    CHECK(qwen2.rope.theta == 10000);
    CHECK(qwen2.eos_token_ids.empty());
    CHECK_FALSE(qwen2.bos_token_id.has_value());
    CHECK_FALSE(qwen2.tie_word_embeddings);
    CHECK(read_config(without(bare("qwen2"), "head_dim")).head_dim == 2);  // hidden_size / heads

    const ModelConfig qwen3 = read_config(without(without(bare("qwen3"), "head_dim"), "num_key_value_heads"));
    CHECK(qwen3.num_key_value_heads == 32);
    CHECK(qwen3.head_dim == 128);
    CHECK(qwen3.qk_norm == ModelConfig::QkNorm::heads);
    CHECK_FALSE(qwen3.qkv_bias);

    const ModelConfig smollm3 = read_config(without(bare("smollm3"), "num_key_value_heads"));
    CHECK(smollm3.num_key_value_heads == 4);
    CHECK(smollm3.rope.theta == 2e6);
    CHECK(smollm3.tie_word_embeddings);
    CHECK(smollm3.bos_token_id == 128000);
    CHECK(smollm3.eos_token_ids == std::vector<int32_t>{128001});
}

TEST_CASE("Granite's multipliers are 1 where the config is silent, and that of attention replaces its own",
          "[model_config]") {
    const ModelConfig plain = read_config(bare("granite"));
    CHECK(plain.embedding_multiplier == 1);
    CHECK(plain.attention_multiplier == 1);
    CHECK(plain.residual_multiplier == 1);
    CHECK(plain.logits_scaling == 1);
    json config = bare("granite");
    config.update({{"embedding_multiplier", 12.0},
                   {"attention_multiplier", 0.015625},
                   {"residual_multiplier", 0.22},
                   {"logits_scaling", 8.0}});
    const ModelConfig granite = read_config(config);
    CHECK(granite.embedding_multiplier == 12);
    CHECK(granite.attention_multiplier == 0.015625);
    CHECK(granite.residual_multiplier == 0.22);
    CHECK(granite.logits_scaling == 8);
    config["logits_scaling"] = 0;
    CHECK(config_error(config).starts_with("config.json: field \"logits_scaling\" must be a number from"));
    config["model_type"] = "llama";  // which knows none of them
    REQUIRE(read_config(config).notes.size() == 4);
    CHECK(read_config(config).notes[0].ends_with("\"embedding_multiplier\" is ignored for llama, as in transformers"));
    CHECK(read_config(config).embedding_multiplier == 1);
    CHECK(read_config(config).attention_multiplier == 0);
}

TEST_CASE("OLMo 2 norms what comes out, and the queries of all heads as one", "[model_config]") {
    const ModelConfig config = read_config(with({{"head_dim", 6}}, "olmo2"));
    CHECK(config.rms_norm_eps == 1e-5);
    const std::vector<NormVector> norms = block_norms(config);
    REQUIRE(norms.size() == 4);
    CHECK(norms[0].place == kAfterAttention);
    CHECK(norms[0].name == "post_attention_layernorm");
    CHECK(norms[1].place == kAfterMlp);
    CHECK(norms[1].name == "post_feedforward_layernorm");
    CHECK(norms[2].size == config.q_size());
    CHECK(norms[3].size == config.kv_size());
}

TEST_CASE("Gemma's caps, window and scales are its own where the config is silent", "[model_config]") {
    const json least = {{"hidden_size", 16}, {"intermediate_size", 12}, {"num_hidden_layers", 7}};
    const auto of = [&](const char* model_type, json fields = json::object()) {
        json config = least;
        config["model_type"] = model_type;
        config.update(fields);
        return read_config(config);
    };
    const ModelConfig gemma2 = of("gemma2"), gemma3 = of("gemma3_text");
    for (const ModelConfig& config : {gemma2, gemma3}) {
        CHECK(config.num_attention_heads == 8);
        CHECK(config.num_key_value_heads == 4);
        CHECK(config.head_dim == 256);
        CHECK(config.attention_multiplier == 1.0 / 16);
        CHECK(config.embedding_multiplier == 4);
        CHECK(config.norms_add_one);
        CHECK(config.gate == Gate::gelu_tanh);
        CHECK(config.tie_word_embeddings);
        CHECK(block_norms(config)[2].name == "pre_feedforward_layernorm");
    }
    CHECK(gemma2.vocab_size == 256000);
    CHECK(gemma2.attn_logit_softcapping == 50);
    CHECK(gemma2.final_logit_softcapping == 30);
    CHECK(of("gemma2", {{"attn_logit_softcapping", nullptr}}).attn_logit_softcapping == 0);
    CHECK(of("gemma2", {{"attn_logit_softcapping", 7}}).attn_logit_softcapping == 7);
    CHECK(gemma3.vocab_size == 262208);
    CHECK(gemma3.final_logit_softcapping == 0);
    CHECK(of("gemma3_text", {{"final_logit_softcapping", 7}}).final_logit_softcapping == 7);
    const ModelConfig ignored = of("gemma3_text", {{"attn_logit_softcapping", 7}});
    CHECK(ignored.attn_logit_softcapping == 0);
    REQUIRE(ignored.notes.size() == 1);
    CHECK(
        ignored.notes[0].ends_with("field \"attn_logit_softcapping\" is ignored for gemma3_text, as in transformers"));

    json config = least;
    config["model_type"] = "gemma2";
    CHECK(windows(config) == List{4096, 0, 4096, 0, 4096, 0, 4096});
    config["sliding_window"] = nullptr;
    CHECK(config_error(config) ==
          "config.json: field \"sliding_window\" is 0 or null, but layer 0 of a gemma2 model has a window");
    config["model_type"] = "gemma3_text";
    config["sliding_window"] = 9;
    CHECK(windows(config) == List{9, 9, 9, 9, 9, 0, 9});
    config["sliding_window_pattern"] = 3;
    CHECK(windows(config) == List{9, 9, 0, 9, 9, 0, 9});
    config["layer_types"] = std::vector<std::string>(7, "full_attention");
    CHECK(windows(config) == List(7, 0));
}

TEST_CASE("Gemma 3's layers with a window turn by a theta of their own", "[model_config]") {
    const json least = {
        {"model_type", "gemma3_text"}, {"hidden_size", 16}, {"intermediate_size", 12}, {"num_hidden_layers", 6}};
    const auto with_fields = [&](const json& fields) {
        json config = least;
        config.update(fields);
        return config;
    };
    const ModelConfig silent = read_config(least);
    CHECK(silent.rope.theta == 1e6);
    CHECK(silent.local_rope.theta == 1e4);
    CHECK(silent.layers[0].local_rope);
    CHECK_FALSE(silent.layers[5].local_rope);

    const json linear = {{"rope_type", "linear"}, {"factor", 8.0}};
    const ModelConfig old =
        read_config(with_fields({{"rope_scaling", linear}, {"rope_theta", 5e5}, {"rope_local_base_freq", 2e4}}));
    json full = linear;
    full["rope_theta"] = 5e5;
    const json sliding = {{"rope_type", "default"}, {"rope_theta", 2e4}};
    const ModelConfig current =
        read_config(with_fields({{"rope_parameters", {{"full_attention", full}, {"sliding_attention", sliding}}}}));
    for (const ModelConfig& config : {old, current}) {
        CHECK(config.rope.type == RopeConfig::Type::linear);
        CHECK(config.rope.factor == 8);
        CHECK(config.rope.theta == 5e5);
        CHECK(config.local_rope.type == RopeConfig::Type::standard);
        CHECK(config.local_rope.theta == 2e4);
    }
    CHECK(config_error(with_fields({{"rope_parameters", {{"full_attention", full}}}, {"rope_scaling", linear}})) ==
          "config.json: field \"rope_scaling\" stands beside rope_parameters; leave one of them out");
    CHECK(config_error(with_fields({{"rope_parameters", linear}}))
              .ends_with("is neither full_attention nor sliding_attention, and transformers would not see it"));
    CHECK(
        config_error(with_fields({{"rope_parameters", {{"sliding_attention", linear}}}})) ==
        "config.json: field \"rope_parameters.sliding_attention.rope_type\" must be default: layers with a window are "
        "not stretched");
}

TEST_CASE("of a multimodal Gemma 3 the language model is read", "[model_config]") {
    json text = {
        {"hidden_size", 16}, {"intermediate_size", 12}, {"num_hidden_layers", 2}, {"final_logit_softcapping", 7}};
    const json whole = {{"model_type", "gemma3"},
                        {"architectures", {"Gemma3ForConditionalGeneration"}},
                        {"eos_token_id", {1, 106}},
                        {"vision_config", {{"hidden_size", 8}}},
                        {"text_config", text}};
    const ModelConfig config = read_config(whole);
    CHECK(config.hidden_size == 16);
    CHECK(config.vocab_size == 262208);
    CHECK(config.final_logit_softcapping == 0);  // transformers caps in Gemma3ForCausalLM alone
    CHECK(config.eos_token_ids == std::vector<int32_t>{1, 106});
    CHECK(all_joint_linears(config)[0].parts[0].name == "model.language_model.layers.0.self_attn.q_proj");
    REQUIRE(config.notes.size() == 1);  // about the cap
    json other = whole;
    other["text_config"]["model_type"] = "qwen3";
    CHECK(config_error(other) ==
          "config.json: field \"text_config.model_type\" is qwen3; of gemma3 only gemma3_text is supported");
    CHECK(config_error(without(whole, "text_config")).starts_with("config.json: field \"text_config\""));
}

TEST_CASE("biases are those that the family reads", "[model_config]") {
    const json biases = {{"attention_bias", true}, {"mlp_bias", true}};
    const auto of = [&](const char* model_type) {
        const ModelConfig config = read_config(with(biases, model_type));
        return std::vector<bool>{config.qkv_bias, config.o_bias, config.mlp_bias};
    };
    CHECK(of("llama") == std::vector<bool>{true, true, true});
    CHECK(of("smollm3") == std::vector<bool>{true, true, true});
    CHECK(of("qwen3") == std::vector<bool>{true, true, false});
    CHECK(of("qwen2") == std::vector<bool>{true, false, false});
    CHECK(of("mistral") == std::vector<bool>{false, false, false});
    CHECK(of("phi3") == std::vector<bool>{false, false, false});

    const std::vector<std::string> notes = read_config(with(biases, "phi3")).notes;
    REQUIRE(notes.size() == 2);
    CHECK(notes[0].ends_with("field \"attention_bias\" is ignored for phi3, as in transformers"));
    CHECK(notes[1].ends_with("field \"mlp_bias\" is ignored for phi3, as in transformers"));
    CHECK(read_config(with({{"attention_bias", false}}, "phi3")).notes.empty());
    const std::vector<JointLinear> joints = joint_linears(read_config(tiny_config("qwen2")));
    CHECK(joints[0].bias);
    CHECK_FALSE(joints[1].bias);
}

TEST_CASE("a family with norms on queries and keys has their tensors", "[model_config]") {
    const std::vector<NormVector> norms = block_norms(read_config(with({{"head_dim", 6}}, "qwen3")));
    REQUIRE(norms.size() == 4);
    CHECK(norms[2].name == "self_attn.q_norm");
    CHECK(norms[2].size == 6);
    CHECK(norms[3].name == "self_attn.k_norm");
    CHECK(block_norms(read_config(tiny_config("qwen2"))).size() == 2);
}

TEST_CASE("Qwen's window is for the layers that config.json says, and only if it is switched on", "[model_config]") {
    for (const char* model_type : {"qwen2", "qwen3"}) {
        CAPTURE(model_type);
        json config = with({{"num_hidden_layers", 4}, {"sliding_window", 7}}, model_type);
        CHECK(windows(config) == List{0, 0, 0, 0});
        config["use_sliding_window"] = true;
        CHECK(windows(config) == List{0, 0, 0, 0});  // max_window_layers is 28
        config["max_window_layers"] = 3;
        CHECK(windows(config) == List{0, 0, 0, 7});
        config["max_window_layers"] = 0;
        CHECK(windows(config) == List{7, 7, 7, 7});
        config["layer_types"] = {"full_attention", "sliding_attention", "full_attention", "full_attention"};
        CHECK(windows(config) == List{0, 7, 0, 0});
        CHECK(windows(without(config, "sliding_window")) == List{0, 4096, 0, 0});
        for (const json& none : {json(), json(0)}) {
            config["sliding_window"] = none;
            CHECK(config_error(config) ==
                  "config.json: field \"layer_types\" makes layer 1 a sliding_attention layer, but use_sliding_window "
                  "and sliding_window give it no window");
            CHECK(windows(without(config, "layer_types")) == List{0, 0, 0, 0});
        }
        config["sliding_window"] = 7;
        config["use_sliding_window"] = false;
        CHECK(config_error(config).find("makes layer 1 a sliding_attention layer, but") != std::string::npos);
    }
}

TEST_CASE("Mistral's and Phi-3's window is for all layers, 0 and null are none", "[model_config]") {
    for (const char* model_type : {"mistral", "phi3"}) {
        CAPTURE(model_type);
        CHECK(windows(with({{"sliding_window", 7}}, model_type)) == List{7, 7});
        CHECK(windows(with({{"sliding_window", 0}}, model_type)) == List{0, 0});
        CHECK(windows(with({{"sliding_window", nullptr}}, model_type)) == List{0, 0});
        json config =
            with({{"sliding_window", 7}, {"layer_types", {"sliding_attention", "sliding_attention"}}}, model_type);
        CHECK(windows(config) == List{7, 7});
        CHECK(read_config(config).notes.empty());
        config["layer_types"] = {"full_attention", "sliding_attention"};
        CHECK(windows(config) == List{7, 7});
        REQUIRE(read_config(config).notes.size() == 1);
        CHECK(read_config(config).notes[0].ends_with(std::string("field \"layer_types\" is ignored for ") + model_type +
                                                     ", as in transformers: all layers have sliding_attention"));
    }
    CHECK(read_config(with({{"layer_types", {"full_attention", "full_attention"}}})).notes.empty());
    CHECK(config_error(with({{"sliding_window", -1}}, "mistral")) ==
          "config.json: field \"sliding_window\" must be an integer from 0 to 1073741824, found -1");
}

TEST_CASE("SmolLM3 has layers without RoPE, and its window on them", "[model_config]") {
    json config = with({{"num_hidden_layers", 5}}, "smollm3");
    CHECK(with_rope(config) == std::vector<bool>{true, true, true, false, true});
    config["no_rope_layer_interval"] = 2;
    CHECK(with_rope(config) == std::vector<bool>{true, false, true, false, true});
    config["sliding_window"] = 9;
    CHECK(windows(config) == List{0, 0, 0, 0, 0});
    config["use_sliding_window"] = true;
    CHECK(windows(config) == List{0, 9, 0, 9, 0});
    config["no_rope_layers"] = {0, 1, 1, 1, 0, 0};  // 1: RoPE is applied
    CHECK(with_rope(config) == std::vector<bool>{false, true, true, true, false});
    CHECK(windows(config) == List{9, 0, 0, 0, 9});
    config["layer_types"] =
        json::array({"full_attention", "full_attention", "sliding_attention", "full_attention", "full_attention"});
    CHECK(windows(config) == List{0, 0, 9, 0, 0});

    config["no_rope_layers"] = {1, 2, 1, 1, 1};
    CHECK(config_error(config) ==
          "config.json: field \"no_rope_layers\" must hold 1 (a layer with RoPE) and 0 (without), found 2");
    config["no_rope_layers"] = {1, 1};
    CHECK(config_error(config) == "config.json: field \"no_rope_layers\" has 2 entries for 5 layers");
    config["no_rope_layers"] = nullptr;
    config["no_rope_layer_interval"] = 0;
    CHECK(config_error(config) ==
          "config.json: field \"no_rope_layer_interval\" must be a positive integer up to 1073741824, found 0");
    CHECK(with_rope(with({{"no_rope_layers", {0, 0}}})) == std::vector<bool>{true, true});  // LLaMA knows none
}

TEST_CASE("layers of another kind, and models that see ahead, are refused by name", "[model_config]") {
    for (const char* type : {"linear_attention", "chunked_attention"}) {
        CHECK(config_error(with({{"layer_types", {"full_attention", type}}}, "qwen3")) ==
              std::string("config.json: field \"layer_types\" makes layer 1 a ") + type +
                  " layer; supported are full_attention and sliding_attention");
    }
    CHECK(config_error(with({{"layer_types", {"full_attention"}}})) ==
          "config.json: field \"layer_types\" has 1 entries for 2 layers");
    CHECK(
        config_error(with({{"is_causal", false}}, "qwen2")) ==
        "config.json: field \"is_causal\" is false: tokens would see those that follow, as in an encoder; only causal "
        "models are supported");
    CHECK(config_error(with({{"use_bidirectional_attention", true}})) ==
          "config.json: field \"use_bidirectional_attention\" is true: tokens would see those that follow, as in an "
          "encoder; only causal models are supported");
    CHECK(config_error(with({{"is_causal", true}})) == "");
    CHECK(config_error(with({{"architectures", {"Qwen3ForSequenceClassification"}}}, "qwen3")) ==
          "config.json: field \"architectures\" names Qwen3ForSequenceClassification; of model_type qwen3 only "
          "Qwen3ForCausalLM is supported");
}
