#include "quaff/files/model_config.h"

#include <nlohmann/json.hpp>

#include "test/catch.h"
#include "test/quaff/config_json.h"

using namespace quaff;
using namespace test;
using nlohmann::json;
using Architecture = ModelConfig::Architecture;

namespace {

const json kLongrope = {{"type", "longrope"}, {"short_factor", {1.0, 1.1}}, {"long_factor", {2.0, 3.0}}};

}  // namespace

TEST_CASE("what a LLaMA config leaves out is what transformers assumes", "[model_config]") {
    const ModelConfig config = read_config({{"architectures", {"LlamaForCausalLM"}},
                                            {"vocab_size", 32000},
                                            {"hidden_size", 64},
                                            {"intermediate_size", 96},
                                            {"num_hidden_layers", 3},
                                            {"num_attention_heads", 4}});
    CHECK(config.architecture == Architecture::llama);
    CHECK(config.num_key_value_heads == 4);
    CHECK(config.head_dim == 16);
    CHECK(config.max_position_embeddings == 2048);
    CHECK(config.rms_norm_eps == 1e-6);
    REQUIRE(config.layers.size() == 3);
    CHECK(config.layers[2].sliding_window == 0);
    CHECK(config.layers[2].has_rope);
    CHECK_FALSE(config.tie_word_embeddings);
    CHECK_FALSE(config.qkv_bias);
    CHECK_FALSE(config.o_bias);
    CHECK(config.qk_norm == ModelConfig::QkNorm::none);
    CHECK(config.eos_token_ids == std::vector<int32_t>{2});
    CHECK(config.bos_token_id == 1);
    CHECK(config.rope.type == RopeConfig::Type::standard);
    CHECK(config.rope.theta == 10000);
    CHECK(config.rope.attention_factor == 1);
    CHECK(config.rotary_dim() == 16);
}

TEST_CASE("what Mistral and Phi-3 configs leave out is what transformers assumes", "[model_config]") {
    const json mistral =
        without(with({{"num_attention_heads", 8}, {"hidden_size", 64}}, "mistral"), "num_key_value_heads");
    CHECK(read_config(mistral).num_key_value_heads == 8);
    CHECK(read_config(mistral).layers[1].sliding_window == 4096);
    CHECK(read_config(mistral).max_position_embeddings == 131072);
    CHECK(read_config(with({{"sliding_window", nullptr}}, "mistral")).layers[1].sliding_window == 0);
    CHECK(read_config(with({{"sliding_window", 7}}, "mistral")).layers[1].sliding_window == 7);
    CHECK(read_config(with({{"num_key_value_heads", nullptr}}, "mistral")).num_key_value_heads == 2);
    CHECK(read_config(with({{"sliding_window", 7}})).layers[1].sliding_window == 0);  // LlamaConfig knows no window

    const json phi3 = without(without(tiny_config("phi3"), "num_key_value_heads"), "eos_token_id");
    json large = phi3;
    large["vocab_size"] = 32064;
    CHECK(read_config(large).num_key_value_heads == 2);
    CHECK(read_config(large).layers[1].sliding_window == 0);
    CHECK(read_config(large).max_position_embeddings == 4096);
    CHECK(read_config(large).rms_norm_eps == 1e-5);
    CHECK(read_config(large).eos_token_ids == std::vector<int32_t>{32000});
    CHECK(read_config(phi3).eos_token_ids.empty());  // its vocabulary has 11 tokens
}

TEST_CASE("RoPE is read as transformers 4 and as transformers 5 write it", "[model_config]") {
    const json llama3 = {
        {"factor", 8.0}, {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 64}};
    json four = llama3, five = llama3;
    four["type"] = "llama3";
    five["rope_type"] = "llama3";
    five["rope_theta"] = 5e5;
    for (const json& config :
         {with({{"rope_theta", 5e5}, {"rope_scaling", four}}), with({{"rope_parameters", five}})}) {
        const RopeConfig rope = read_config(config).rope;
        CHECK(rope.type == RopeConfig::Type::llama3);
        CHECK(rope.theta == 5e5);
        CHECK(rope.factor == 8);
        CHECK(rope.low_freq_factor == 1);
        CHECK(rope.high_freq_factor == 4);
        CHECK(rope.original_max_position_embeddings == 64);
    }
    const RopeConfig linear = read_config(with({{"rope_scaling", {{"rope_type", "linear"}, {"factor", 2.5}}}})).rope;
    CHECK(linear.type == RopeConfig::Type::linear);
    CHECK(linear.factor == 2.5);
    CHECK(linear.theta == 10000);
    CHECK(read_config(with({{"rope_scaling", nullptr}, {"rope_theta", 123}})).rope.theta == 123);
}

TEST_CASE("longrope's attention factor is that of the paper", "[model_config]") {
    json longrope = kLongrope;
    const auto rope = [&](const json& fields) {
        json config = with(fields, "phi3");
        config["rope_scaling"] = longrope;
        return read_config(config).rope;
    };
    // sqrt(1 + ln(32) / ln(4096)), 131072 = 32 x 4096: Phi-3-mini-128k's 1.19024
    const RopeConfig phi3 = rope({{"max_position_embeddings", 131072}, {"original_max_position_embeddings", 4096}});
    CHECK(phi3.type == RopeConfig::Type::longrope);
    CHECK(phi3.attention_factor == Approx(1.1902380714238083).epsilon(1e-14));
    CHECK(phi3.short_factor == std::vector<double>{1.0, 1.1});
    CHECK(phi3.long_factor == std::vector<double>{2.0, 3.0});
    CHECK(phi3.original_max_position_embeddings == 4096);
    // Not longer than it was: nothing to make up for.
    CHECK(rope({{"max_position_embeddings", 4096}}).attention_factor == 1);
    CHECK(rope({{"max_position_embeddings", 4096}}).original_max_position_embeddings == 4096);
    longrope["attention_factor"] = 1.5;
    for (const char* name : {"su", "yarn"}) {  // the names it had first
        longrope["type"] = name;
        CHECK(rope({{"max_position_embeddings", 131072}}).type == RopeConfig::Type::longrope);
        CHECK(rope({{"max_position_embeddings", 131072}}).attention_factor == 1.5);
    }
}

TEST_CASE("Phi-3 may turn a part of each head only", "[model_config]") {
    const ModelConfig config = read_config(with({{"hidden_size", 16}, {"partial_rotary_factor", 0.75}}, "phi3"));
    CHECK(config.head_dim == 8);
    CHECK(config.rotary_dim() == 6);
    CHECK(config_error(with({{"hidden_size", 16}, {"partial_rotary_factor", 0.9}}, "phi3")) ==
          "config.json: RoPE turns pairs of channels, but head_dim 8 x partial_rotary_factor 0.9 gives 7 channels; "
          "an even number is needed");
    CHECK(config_error(with({{"partial_rotary_factor", 0.5}})) ==
          "config.json: \"partial_rotary_factor\" 0.5 is supported for phi3 only");
}

// transformers' generate() reads generation_config.json alone, and makes one of config.json where it is not there.
TEST_CASE("end-of-sequence tokens are generation_config.json's, else config.json's", "[model_config]") {
    const TempDir directory;
    directory.write("config.json", with({{"eos_token_id", {3, 4}}}).dump());
    directory.write("generation_config.json", R"({"eos_token_id": [4, 7]})");
    CHECK(read_model_config(directory.path()).eos_token_ids == std::vector<int32_t>{4, 7});
    directory.write("generation_config.json", R"({"eos_token_id": 5})");
    CHECK(read_model_config(directory.path()).eos_token_ids == std::vector<int32_t>{5});
    for (const char* without : {"{}", R"({"eos_token_id": null, "top_p": 0.9})"}) {
        directory.write("generation_config.json", without);
        CHECK(read_model_config(directory.path()).eos_token_ids == std::vector<int32_t>{3, 4});
    }
    for (const char* wrong : {"\"</s>\"", "[3, 1.5]"}) {
        directory.write("generation_config.json", concat("{\"eos_token_id\": ", wrong, "}"));
        CHECK(
            error_of(directory, [&] { read_model_config(directory.path()); })
                .starts_with("generation_config.json: field \"eos_token_id\" must be a token id from 0 to 10 or a list "
                             "of them, found "));
    }
    CHECK(read_config(with({{"eos_token_id", nullptr}})).eos_token_ids.empty());
    CHECK_FALSE(read_config(with({{"bos_token_id", nullptr}})).bos_token_id.has_value());
}

TEST_CASE("special tokens outside the vocabulary are left out with a note", "[model_config]") {
    const ModelConfig config = read_config(with({{"eos_token_id", {32007, 3, -1}}, {"bos_token_id", 11}}, "phi3"));
    CHECK(config.eos_token_ids == std::vector<int32_t>{3});
    CHECK_FALSE(config.bos_token_id.has_value());
    REQUIRE(config.notes.size() == 3);
    CHECK(config.notes[0].ends_with(
        "config.json: field \"eos_token_id\" holds 32007, which is outside the vocabulary (vocab_size 11); the id is "
        "ignored"));
    CHECK(config.notes[1].find("config.json: field \"eos_token_id\" holds -1, ") != std::string::npos);
    CHECK(config.notes[2].find("config.json: field \"bos_token_id\" holds 11, ") != std::string::npos);
    CHECK(read_config(tiny_config()).notes.empty());
    CHECK(read_config(with({{"eos_token_id", 18446744073709551615u}})).notes.size() == 1);

    // Of ids that are not used nothing is noted.
    const TempDir directory;
    directory.write("config.json", with({{"eos_token_id", 32000}}).dump());
    directory.write("generation_config.json", R"({"eos_token_id": 7})");
    CHECK(read_model_config(directory.path()).notes.empty());
    directory.write("generation_config.json", R"({"eos_token_id": [7, 12]})");
    const ModelConfig generation = read_model_config(directory.path());
    CHECK(generation.eos_token_ids == std::vector<int32_t>{7});
    REQUIRE(generation.notes.size() == 1);
    CHECK(generation.notes[0].find("generation_config.json: field \"eos_token_id\" holds 12, ") != std::string::npos);
    // Where it has none that can be used, those of config.json are.
    directory.write("config.json", with({{"eos_token_id", 3}}).dump());
    directory.write("generation_config.json", R"({"eos_token_id": 12})");
    CHECK(read_model_config(directory.path()).eos_token_ids == std::vector<int32_t>{3});
    CHECK(read_model_config(directory.path()).notes.size() == 1);
    directory.write("generation_config.json", R"({"eos_token_id": null})");
    CHECK(read_model_config(directory.path()).eos_token_ids == std::vector<int32_t>{3});

    const ModelConfig padded = read_config(with({{"pad_token_id", 11}}));
    REQUIRE(padded.notes.size() == 1);
    CHECK(padded.notes[0].find("config.json: field \"pad_token_id\" holds 11, ") != std::string::npos);
    for (const json& id : {json(), json(-1), json(10)}) CHECK(read_config(with({{"pad_token_id", id}})).notes.empty());
}

TEST_CASE("the configs of the golden models are read", "[model_config]") {
    const std::string golden = "test/data/golden/";
    CHECK(read_model_config(golden + "llama_tied_llama3/model").rope.type == RopeConfig::Type::llama3);
    CHECK(read_model_config(golden + "llama_tied_llama3/model").tie_word_embeddings);
    CHECK(read_model_config(golden + "llama_head_dim/model").rope.theta == 1000);
    CHECK(read_model_config(golden + "mistral_window/model").layers[1].sliding_window == 6);
    CHECK(read_model_config(golden + "phi3_longrope/model").rope.long_factor.back() == 4.2);
}

TEST_CASE("a joint matrix stands for the layers that share an input", "[model_config]") {
    const ModelConfig llama = read_config(tiny_config()), phi3 = read_config(tiny_config("phi3"));
    for (const ModelConfig& config : {llama, phi3}) {
        const std::vector<JointLinear> modules = all_joint_linears(config);
        REQUIRE(modules.size() == 8);
        CHECK(modules[0].name == "model.layers.0.self_attn.qkv_proj");
        CHECK(modules[1].name == "model.layers.0.self_attn.o_proj");
        CHECK(modules[6].name == "model.layers.1.mlp.gate_up_proj");
        CHECK(modules[7].name == "model.layers.1.mlp.down_proj");
        CHECK(modules[7].in_features == 12);
        int64_t rows = 0;
        for (const JointLinear& joint : joint_linears(config)) rows += joint.out_features();
        CHECK(rows == 8 + 2 * 4 + 8 + 2 * 12 + 8);  // q, k, v, o, gate, up, down
    }
    const auto names = [](const ModelConfig& config) {
        std::vector<std::string> all;
        for_each_linear(config, [&](const JointLinear&, const LinearPart& part) { all.push_back(part.name); });
        return all;
    };
    CHECK(names(llama).size() == 2 * 7);
    CHECK(names(llama)[8] == "model.layers.1.self_attn.k_proj");
    CHECK(names(phi3).size() == 2 * 4);
}

TEST_CASE("a config that cannot be true is refused, naming the field", "[model_config]") {
    CHECK(config_error(tiny_config()) == "");
    CHECK(config_error(with({{"hidden_size", "abc"}})) ==
          "config.json: field \"hidden_size\" must be a positive integer up to 133144, found \"abc\"");
    CHECK(config_error(with({{"num_hidden_layers", 0}})) ==
          "config.json: field \"num_hidden_layers\" must be a positive integer up to 1024, found 0");
    CHECK(config_error(with({{"vocab_size", -5}})) ==
          "config.json: field \"vocab_size\" must be a positive integer up to 16777216, found -5");
    CHECK(config_error(with({{"intermediate_size", 1e18}}))
              .starts_with("config.json: field \"intermediate_size\" must be"));
    CHECK(config_error(without(tiny_config(), "num_attention_heads")) ==
          "config.json: field \"num_attention_heads\" is missing, it must be a positive integer up to 1024");
    CHECK(config_error(with({{"num_attention_heads", 4}, {"num_key_value_heads", 3}})) ==
          "config.json: field \"num_attention_heads\" (4) must be a multiple of num_key_value_heads (3)");
    CHECK(config_error(with({{"hidden_size", 9}})) ==
          "config.json: field \"hidden_size\" (9) must be a multiple of num_attention_heads (2) when head_dim is not "
          "given");
    CHECK(config_error(with({{"head_dim", 3}})) ==
          "config.json: a head has 3 channels (head_dim, or hidden_size / num_attention_heads); an even number up to "
          "512 is needed");
    CHECK(config_error(with({{"hidden_size", 2048}})).starts_with("config.json: a head has 1024 channels"));
    CHECK(
        config_error(with({{"num_attention_heads", 1024}, {"num_key_value_heads", 1024}, {"head_dim", 512}})) ==
        "config.json: 1024 heads and 2 x 1024 key and value heads of 512 channels are more than 133144, the most whose "
        "int8 products an int32 can sum");
    CHECK(config_error(with({{"rms_norm_eps", 0}})) ==
          "config.json: field \"rms_norm_eps\" must be a number from 1e-12 to 1, found 0");
    CHECK(config_error(with({{"tie_word_embeddings", "yes"}})) ==
          "config.json: field \"tie_word_embeddings\" must be true or false, found \"yes\"");
    CHECK(config_error(json::array()) == "config.json: must hold a JSON object { .. }, found []");
}

TEST_CASE("a model that would be computed differently is refused by name", "[model_config]") {
    const std::string supported =
        "llama (LlamaForCausalLM), mistral (MistralForCausalLM), phi3 (Phi3ForCausalLM), qwen2 (Qwen2ForCausalLM), "
        "qwen3 (Qwen3ForCausalLM), smollm3 (SmolLM3ForCausalLM), granite (GraniteForCausalLM), olmo2 "
        "(Olmo2ForCausalLM), gemma2 (Gemma2ForCausalLM), gemma3_text (Gemma3ForCausalLM) and gemma3 "
        "(Gemma3ForConditionalGeneration)";
    CHECK(config_error(tiny_config("gpt_neox")) ==
          "config.json: the architecture gpt_neox is not supported; supported are " + supported);
    CHECK(config_error(with({{"num_experts", 8}}, "qwen3_moe")) ==
          "config.json: the architecture qwen3_moe, a mixture of experts, is not supported; supported are " +
              supported);
    CHECK(config_error(with({{"linear_conv_kernel_dim", 4}}, "qwen3_next")) ==
          "config.json: the architecture qwen3_next, which has layers without attention, is not supported; supported "
          "are " +
              supported);
    CHECK(config_error(with({{"vision_config", json::object()}}, "qwen2_vl")) ==
          "config.json: the architecture qwen2_vl, which reads more than text, is not supported; supported are " +
              supported);
    CHECK(config_error(without(with({{"architectures", {"GPT2LMHeadModel"}}}), "model_type")) ==
          "config.json: the architecture GPT2LMHeadModel is not supported; supported are " + supported);
    CHECK(config_error(without(tiny_config(), "model_type")) ==
          "config.json: has neither \"model_type\" nor \"architectures\", so the kind of model is unknown; supported "
          "are " +
              supported);
    CHECK(config_error(with({{"architectures", {"LlamaForSequenceClassification"}}})) ==
          "config.json: field \"architectures\" names LlamaForSequenceClassification; of model_type llama only "
          "LlamaForCausalLM is supported");
    CHECK(config_error(with({{"hidden_act", "gelu"}})) ==
          "config.json: field \"hidden_act\" is \"gelu\", which is not supported; supported is silu");
    CHECK(config_error(with({{"hidden_activation", "gelu"}}, "gemma2")) ==
          "config.json: field \"hidden_activation\" is \"gelu\", which is not supported; supported is "
          "gelu_pytorch_tanh");
    CHECK(config_error(with({{"quantization_config", {{"bits", 4}}}})) ==
          "config.json: field \"quantization_config\": a model that is already quantized cannot be read; use the "
          "original "
          "one in F32, F16 or BF16");
    CHECK(
        config_error(with({{"rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2}}}})) ==
        "config.json: field \"rope_scaling.rope_type\" is \"dynamic\", which is not supported; supported are default, "
        "linear, llama3, yarn and longrope (also called su)");
    CHECK(config_error(with({{"rope_scaling", {{"type", "linear"}, {"factor", 2}}}}, "phi3")) ==
          "config.json: field \"rope_scaling.type\" is \"linear\", but phi3 knows default and longrope (also called su "
          "and "
          "yarn) only");
    CHECK(config_error(with({{"rope_parameters", {{"sliding_attention", {{"rope_theta", 1e4}}}}}})) ==
          "config.json: field \"rope_parameters.sliding_attention\": a different RoPE per kind of layer is not "
          "supported for llama");
}

TEST_CASE("RoPE parameters that cannot be true are refused", "[model_config]") {
    const auto rope_error = [](const json& rope, const std::string& model_type = "llama") {
        return config_error(with({{"rope_scaling", rope}}, model_type));
    };
    CHECK(rope_error({{"type", "linear"}}) ==
          "config.json: field \"rope_scaling.factor\" is missing, it must be a number from 0.001 to 1e+06");
    CHECK(rope_error({{"type", "linear"}, {"factor", 0}}) ==
          "config.json: field \"rope_scaling.factor\" must be a number from 0.001 to 1e+06, found 0");
    CHECK(rope_error({{"type", "llama3"}, {"factor", 2}, {"low_freq_factor", 4}, {"high_freq_factor", 4}}) ==
          "config.json: field \"rope_scaling.low_freq_factor\" (4) must be smaller than high_freq_factor (4)");
    json longrope = kLongrope;
    longrope["short_factor"] = {1.0};
    CHECK(rope_error(longrope, "phi3") ==
          "config.json: field \"rope_scaling.short_factor\" must have 2 values (half of the rotated channels of a "
          "head), found 1");
    longrope = kLongrope;
    longrope["long_factor"] = {1.0, 0.0};
    CHECK(rope_error(longrope, "phi3") ==
          "config.json: field \"rope_scaling.long_factor\" must hold positive numbers, found 0");
    longrope = kLongrope;
    longrope.erase("long_factor");
    CHECK(rope_error(longrope, "phi3") ==
          "config.json: field \"rope_scaling.long_factor\" is missing, it must be a list of numbers");
    CHECK(rope_error({{"type", "yarn"}}) ==
          "config.json: field \"rope_scaling.factor\" is missing, it must be a number from 0.001 to 1e+06");
    CHECK(rope_error({{"type", "yarn"}, {"factor", 4}, {"beta_fast", 2}, {"beta_slow", 3}}) ==
          "config.json: field \"rope_scaling.beta_slow\" (3) must not be larger than beta_fast (2)");
    CHECK(rope_error({{"type", "yarn"}, {"factor", 4}, {"mscale", -1}}) ==
          "config.json: field \"rope_scaling.mscale\" must be a number from 0 to 1e+06, found -1");
    CHECK(rope_error({{"type", "yarn"}, {"factor", 4}, {"truncate", 1}}) ==
          "config.json: field \"rope_scaling.truncate\" must be true or false, found 1");
    CHECK(config_error(with({{"rope_theta", 1}, {"rope_scaling", {{"type", "yarn"}, {"factor", 4}}}})) ==
          "config.json: field \"rope_theta\" must be larger than 1 for yarn");
    CHECK(rope_error("linear") == "config.json: field \"rope_scaling\" must be a JSON object { .. }, found \"linear\"");
    CHECK(config_error(with({{"rope_theta", -1}})) ==
          "config.json: field \"rope_theta\" must be a number from 1 to 1e+12, found -1");
}

TEST_CASE("a directory that is no model says so", "[model_config]") {
    const TempDir directory;
    CHECK(
        error_of(directory, [&] { read_model_config(directory / "no"); }) ==
        "no: is not a directory; give a Hugging Face model directory with config.json (to fetch org/name into "
        "Hugging Face's cache: scripts/fetch_model.sh org/name; into a folder: hf download org/name --local-dir DIR)");
    CHECK(error_of([] { read_model_config("models/m.gguf"); }) ==
          "models/m.gguf: GGUF is not read; convert it with: python3 -c \"import transformers as t; "
          "[c.from_pretrained('models', gguf_file='m.gguf').save_pretrained('m') for c in (t.AutoTokenizer, "
          "t.AutoModelForCausalLM)]\"");
    const std::string message = error_of(directory, [&] { read_model_config(directory.path()); });
    CHECK(message.starts_with("config.json: is missing, so "));
}
