#include "quaff/files/model_config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/core/named.h"
#include "llmc/io/json.h"
#include "llmc/io/path.h"

namespace quaff {

using namespace llmc;
using nlohmann::json;
using Architecture = ModelConfig::Architecture;

namespace {

// What transformers assumes where config.json is silent.
struct Defaults {
    Architecture architecture;
    const char* model_type;
    const char* class_name;
    int64_t num_key_value_heads;  // 0: num_attention_heads
    int64_t max_position_embeddings;
    int64_t sliding_window;  // 0: none
    double rms_norm_eps;
    int32_t eos_token_id;
};

constexpr Defaults kKnown[] = {
    {Architecture::llama, "llama", "LlamaForCausalLM", 0, 2048, 0, 1e-6, 2},
    {Architecture::mistral, "mistral", "MistralForCausalLM", 8, 131072, 4096, 1e-6, 2},
    {Architecture::phi3, "phi3", "Phi3ForCausalLM", 0, 4096, 0, 1e-5, 32000},
};

constexpr const char* kSupported = "llama (LlamaForCausalLM), mistral (MistralForCausalLM) and phi3 (Phi3ForCausalLM)";

// A sum of K products of int8 values in [-127, 127] fits into int32 for K up to (2^31 - 1) / 127^2. Both extents of
// every frozen matrix are summed over, one in the forward and one in the backward pass.
constexpr int64_t kMaxChannels = 133'144;
constexpr int64_t kMaxVocabSize = int64_t{1} << 24;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxHeads = 1024;
constexpr int64_t kMaxHeadDim = 512;
constexpr int64_t kMaxPositions = int64_t{1} << 30;

const Defaults& read_architecture(const JsonObject& config) {
    const std::string model_type = config.string("model_type", "");
    const std::vector<std::string> classes =
        config.has("architectures") ? config.strings("architectures") : std::vector<std::string>{};
    require(!model_type.empty() || !classes.empty(), config.file(),
            ": has neither \"model_type\" nor \"architectures\", so the kind of model is unknown; supported are ",
            kSupported);
    for (const Defaults& known : kKnown) {
        if (!model_type.empty() ? model_type != known.model_type : classes[0] != known.class_name) continue;
        if (!classes.empty() && classes[0] != known.class_name) {
            fail(config.field("architectures"), " names ", classes[0], "; of model_type ", known.model_type, " only ",
                 known.class_name, " is supported");
        }
        return known;
    }
    fail(config.file(), ": the architecture ", model_type.empty() ? classes[0] : model_type,
         " is not supported; supported are ", kSupported);
}

// longrope's factors: `count` positive numbers, one for each pair of channels that is turned.
std::vector<double> read_longrope_factors(const JsonObject& rope, const char* key, int64_t count) {
    std::vector<double> factors = rope.numbers(key);
    require(static_cast<int64_t>(factors.size()) == count, rope.field(key), " must have ", count,
            " values (half of the rotated channels of a head), found ", factors.size());
    for (const double factor : factors) {
        require(std::isfinite(factor) && factor > 0, rope.field(key), " must hold positive numbers, found ", factor);
    }
    return factors;
}

constexpr Named<RopeConfig::Type> kRopeTypes[] = {{"default", RopeConfig::Type::standard},
                                                  {"linear", RopeConfig::Type::linear},
                                                  {"llama3", RopeConfig::Type::llama3},
                                                  {"longrope", RopeConfig::Type::longrope},
                                                  {"su", RopeConfig::Type::longrope}};

RopeConfig read_rope(const JsonObject& config, const ModelConfig& model) {
    // transformers 5 writes rope_parameters, 4 wrote rope_scaling (null for none) with rope_theta and
    // partial_rotary_factor beside it. When a file has both, transformers 5 lets rope_scaling win.
    static const json nothing = json::object();
    const auto filled = [&](const char* key) { return config.has(key) && !config.value(key).empty(); };
    const JsonObject rope = filled("rope_scaling")      ? config.object("rope_scaling")
                            : filled("rope_parameters") ? config.object("rope_parameters")
                                                        : JsonObject(nothing, config.file(), "rope_scaling.");
    for (const char* layer_type : {"full_attention", "sliding_attention"}) {
        require(!rope.contains(layer_type), rope.field(layer_type),
                ": a different RoPE per kind of layer is not supported");
    }
    const auto beside = [&](const char* key) -> const JsonObject& { return rope.has(key) ? rope : config; };

    RopeConfig result;
    result.theta = beside("rope_theta").number("rope_theta", 1, 1e12, 10000);
    result.partial_rotary_factor = beside("partial_rotary_factor").number("partial_rotary_factor", 1e-3, 1, 1);
    const std::string type_field = rope.has("rope_type") ? "rope_type" : "type";
    const std::string type = rope.string(type_field, "default");
    const std::optional<RopeConfig::Type> known = value_in(kRopeTypes, type);
    require(known.has_value(), rope.field(type_field), " is \"", type,
            "\", which is not supported; supported are default, linear, llama3 and longrope (also called su)");
    result.type = *known;
    const bool phi3 = model.architecture == Architecture::phi3;
    require(result.partial_rotary_factor == 1 || phi3, config.file(), ": \"partial_rotary_factor\" ",
            result.partial_rotary_factor, " is supported for phi3 only");
    require(!phi3 || type == "default" || result.type == RopeConfig::Type::longrope, rope.field(type_field), " is \"",
            type, "\", but phi3 knows default and longrope only");
    ModelConfig with_rope = model;
    with_rope.rope = result;
    const int64_t rotary_dim = with_rope.rotary_dim();
    require(rotary_dim >= 2 && rotary_dim % 2 == 0, config.file(), ": RoPE turns pairs of channels, but head_dim ",
            model.head_dim, " x partial_rotary_factor ", result.partial_rotary_factor, " gives ", rotary_dim,
            " channels; an even number is needed");
    if (result.type == RopeConfig::Type::standard) return result;

    if (result.type != RopeConfig::Type::linear) {
        // As in transformers: the field beside rope_scaling comes first, and a Phi-3 config always has it (4096).
        const char* key = "original_max_position_embeddings";
        const JsonObject& source = config.has(key) || phi3 ? config : rope;
        result.original_max_position_embeddings =
            source.integer(key, 2, kMaxPositions, phi3 ? 4096 : model.max_position_embeddings);
    }
    if (result.type != RopeConfig::Type::longrope) {
        result.factor = rope.number("factor", 1e-3, 1e6);
    }
    if (result.type == RopeConfig::Type::llama3) {
        result.low_freq_factor = rope.number("low_freq_factor", 1e-3, 1e6);
        result.high_freq_factor = rope.number("high_freq_factor", 1e-3, 1e6);
        require(result.low_freq_factor < result.high_freq_factor, rope.field("low_freq_factor"), " (",
                result.low_freq_factor, ") must be smaller than high_freq_factor (", result.high_freq_factor, ")");
    }
    if (result.type == RopeConfig::Type::longrope) {
        result.short_factor = read_longrope_factors(rope, "short_factor", rotary_dim / 2);
        result.long_factor = read_longrope_factors(rope, "long_factor", rotary_dim / 2);
        const auto original = static_cast<double>(result.original_max_position_embeddings);
        result.factor = rope.number("factor", 1e-3, 1e6, static_cast<double>(model.max_position_embeddings) / original);
        const double derived = result.factor > 1 ? std::sqrt(1 + std::log(result.factor) / std::log(original)) : 1;
        result.attention_factor = rope.number("attention_factor", 1e-3, 1e3, derived);
    }
    return result;
}

// A number, a list of numbers or null. An id outside the vocabulary, which no model can produce, is left out with a
// note: transformers loads such a model.
std::vector<int32_t> read_token_ids(const JsonObject& config, const std::string& key, int64_t vocab_size,
                                    std::vector<int32_t> absent, std::vector<std::string>& notes) {
    if (!config.contains(key)) {
        std::erase_if(absent, [&](int32_t id) { return id >= vocab_size; });  // Phi-3's default, in a small model
        return absent;
    }
    const json& value = config.value(key);
    if (value.is_null()) return {};
    std::vector<int32_t> ids;
    const json list = value.is_array() ? value : json::array({value});
    for (const json& id : list) {
        if (!id.is_number_integer())
            config.fail_field(key, concat("a token id from 0 to ", vocab_size - 1, " or a list of them"));
        if (id >= 0 && id < vocab_size)
            ids.push_back(id.get<int32_t>());
        else
            notes.push_back(concat(config.field(key), " holds ", describe(id),
                                   ", which is outside the vocabulary (vocab_size ", vocab_size,
                                   "); the id is ignored"));
    }
    return ids;
}

// layer_types (transformers 4.53 and later) may give layers different masks. Only what sliding_window says of all of
// them is supported.
void check_layer_types(const JsonObject& config, const ModelConfig& model) {
    if (!config.has("layer_types")) return;
    const std::vector<std::string> types = config.strings("layer_types");
    const std::string expected = model.sliding_window == 0 ? "full_attention" : "sliding_attention";
    require(static_cast<int64_t>(types.size()) == model.num_hidden_layers, config.field("layer_types"), " has ",
            types.size(), " entries for ", model.num_hidden_layers, " layers");
    for (size_t i = 0; i < types.size(); ++i) {
        require(types[i] == expected, config.field("layer_types"), " makes layer ", i, " a ", types[i],
                " layer; supported is ", expected, " in every layer when sliding_window is ", model.sliding_window,
                " (0: absent)");
    }
}

}  // namespace

const char* name_of(Architecture architecture) {
    for (const Defaults& known : kKnown) {
        if (known.architecture == architecture) return known.model_type;
    }
    return "";
}

int64_t JointLinear::out_features() const {
    int64_t sum = 0;
    for (const LinearPart& part : parts) sum += part.out_features;
    return sum;
}

std::string block_name(int64_t layer) {
    return concat("model.layers.", layer);
}

std::vector<JointLinear> joint_linears(const ModelConfig& config) {
    const int64_t hidden = config.hidden_size, intermediate = config.intermediate_size;
    const int64_t q = config.q_size(), kv = config.kv_size();
    std::vector<LinearPart> qkv = {{"self_attn.q_proj", q}, {"self_attn.k_proj", kv}, {"self_attn.v_proj", kv}};
    std::vector<LinearPart> gate_up = {{"mlp.gate_proj", intermediate}, {"mlp.up_proj", intermediate}};
    if (config.fused()) {
        qkv = {{"self_attn.qkv_proj", q + 2 * kv}};
        gate_up = {{"mlp.gate_up_proj", 2 * intermediate}};
    }
    return {{"self_attn.qkv_proj", hidden, config.attention_bias, std::move(qkv)},
            {"self_attn.o_proj", q, config.attention_bias, {{"self_attn.o_proj", hidden}}},
            {"mlp.gate_up_proj", hidden, config.mlp_bias, std::move(gate_up)},
            {"mlp.down_proj", intermediate, config.mlp_bias, {{"mlp.down_proj", hidden}}}};
}

std::vector<JointLinear> all_joint_linears(const ModelConfig& config) {
    const std::vector<JointLinear> of_block = joint_linears(config);
    std::vector<JointLinear> all;
    for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
        for (JointLinear joint : of_block) {
            joint.name = block_name(layer) + "." + joint.name;
            for (LinearPart& part : joint.parts) part.name = block_name(layer) + "." + part.name;
            all.push_back(std::move(joint));
        }
    }
    return all;
}

void refuse_gguf(const std::filesystem::path& file) {
    const std::string folder = file.has_parent_path() ? file.parent_path().string() : ".";
    require(file.extension() != ".gguf", file.string(),
            ": GGUF is not read; convert it with: python3 -c \"import transformers as t; "
            "[c.from_pretrained('",
            folder, "', gguf_file='", file.filename().string(), "').save_pretrained('", file.stem().string(),
            "') for c in (t.AutoTokenizer, t.AutoModelForCausalLM)]\"");
}

ModelConfig read_model_config(const std::filesystem::path& directory) {
    refuse_gguf(directory);
    require(path_is_directory(directory), directory.string(),
            ": is not a directory; give a Hugging Face model directory with config.json (to download one: hf download "
            "NAME --local-dir DIR)");
    const std::filesystem::path path = directory / "config.json";
    require(path_exists(path), path.string(), ": is missing, so ", directory.string(),
            " is not a Hugging Face model directory");
    const json tree = read_json(path);
    const JsonObject config(tree, path.string());

    require(!config.has("quantization_config"), config.field("quantization_config"),
            ": a model that is already quantized cannot be read; use the original one in F32, F16 or BF16");
    const Defaults& defaults = read_architecture(config);
    ModelConfig model;
    model.architecture = defaults.architecture;
    const std::string activation = config.string("hidden_act", "silu");
    require(activation == "silu" || activation == "swish", config.field("hidden_act"), " is \"", activation,
            "\", which is not supported; supported is silu");

    model.vocab_size = config.integer("vocab_size", 1, kMaxVocabSize);
    model.hidden_size = config.integer("hidden_size", 1, kMaxChannels);
    model.intermediate_size = config.integer("intermediate_size", 1, kMaxChannels / 2);  // gate and up are one matrix
    model.num_hidden_layers = config.integer("num_hidden_layers", 1, kMaxLayers);
    model.num_attention_heads = config.integer("num_attention_heads", 1, kMaxHeads);
    const bool default_kv_heads = defaults.num_key_value_heads != 0 && !config.contains("num_key_value_heads");
    model.num_key_value_heads =
        config.integer("num_key_value_heads", 1, kMaxHeads,
                       default_kv_heads ? defaults.num_key_value_heads : model.num_attention_heads);
    require(model.num_attention_heads % model.num_key_value_heads == 0, config.field("num_attention_heads"), " (",
            model.num_attention_heads, ") must be a multiple of num_key_value_heads (", model.num_key_value_heads, ")");
    if (!config.has("head_dim")) {
        require(model.hidden_size % model.num_attention_heads == 0, config.field("hidden_size"), " (",
                model.hidden_size, ") must be a multiple of num_attention_heads (", model.num_attention_heads,
                ") when head_dim is not given");
    }
    model.head_dim = config.integer("head_dim", 1, kMaxHeadDim, model.hidden_size / model.num_attention_heads);
    require(model.head_dim >= 2 && model.head_dim <= kMaxHeadDim && model.head_dim % 2 == 0, config.file(),
            ": a head has ", model.head_dim,
            " channels (head_dim, or hidden_size / num_attention_heads); an even number up to ", kMaxHeadDim,
            " is needed");
    require(model.q_size() + 2 * model.kv_size() <= kMaxChannels, config.file(), ": ", model.num_attention_heads,
            " heads and 2 x ", model.num_key_value_heads, " key and value heads of ", model.head_dim,
            " channels are more than ", kMaxChannels, ", the most whose int8 products an int32 can sum");

    model.max_position_embeddings =
        config.integer("max_position_embeddings", 1, kMaxPositions, defaults.max_position_embeddings);
    model.rms_norm_eps = config.number("rms_norm_eps", 1e-12, 1, defaults.rms_norm_eps);
    if (model.architecture != Architecture::llama) {  // LlamaConfig has no such field and ignores it
        const int64_t absent = config.contains("sliding_window") ? 0 : defaults.sliding_window;
        model.sliding_window = config.integer("sliding_window", 1, kMaxPositions, absent);
    }
    check_layer_types(config, model);
    model.attention_bias = config.boolean("attention_bias", false);
    model.mlp_bias = config.boolean("mlp_bias", false);
    require((!model.attention_bias && !model.mlp_bias) || model.architecture == Architecture::llama, config.file(),
            ": attention_bias and mlp_bias are supported for llama only");
    model.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
    model.rope = read_rope(config, model);
    model.eos_token_ids =
        read_token_ids(config, "eos_token_id", model.vocab_size, {defaults.eos_token_id}, model.notes);
    const std::filesystem::path generation = directory / "generation_config.json";
    if (path_exists(generation)) {
        const json generation_tree = read_json(generation);
        const JsonObject fields(generation_tree, generation.string());
        if (fields.has("eos_token_id")) {
            model.notes.clear();  // about config.json's ids, which are not used
            model.eos_token_ids = read_token_ids(fields, "eos_token_id", model.vocab_size, {}, model.notes);
        }
    }
    const std::vector<int32_t> bos = read_token_ids(config, "bos_token_id", model.vocab_size, {1}, model.notes);
    if (!bos.empty()) model.bos_token_id = bos[0];
    return model;
}

}  // namespace quaff
