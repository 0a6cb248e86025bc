#include "quaff/files/model_config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/io/json.h"
#include "llmc/io/path.h"
#include "quaff/files/model_family.h"

namespace quaff {

using namespace llmc;
using nlohmann::json;

namespace {

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

// The token ids that end a text: generation_config.json's if it has any, as in transformers, else config.json's.
void read_end_tokens(ModelConfig& model, const JsonObject& config, const std::filesystem::path& generation,
                     const Family& family) {
    std::vector<int32_t> absent;
    if (family.eos_token_id >= 0) absent.push_back(family.eos_token_id);
    std::vector<std::string> notes;
    model.eos_token_ids = read_token_ids(config, "eos_token_id", model.vocab_size, absent, notes);
    if (path_exists(generation)) {
        const json tree = read_json(generation);
        const JsonObject fields(tree, generation.string());
        if (fields.has("eos_token_id")) {
            std::vector<std::string> more;
            std::vector<int32_t> ids = read_token_ids(fields, "eos_token_id", model.vocab_size, {}, more);
            if (!ids.empty()) {
                notes.clear();  // about config.json's ids, which are not used
                model.eos_token_ids = std::move(ids);
            }
            notes.insert(notes.end(), more.begin(), more.end());
        }
    }
    model.notes.insert(model.notes.end(), notes.begin(), notes.end());
}

// Whether a kind of linear has a bias, as far as the family's config may say so. That it is not asked is told.
bool read_bias(const JsonObject& config, const char* key, Family::Bias bias, const Family& family,
               std::vector<std::string>& notes) {
    const bool wanted = config.boolean(key, false);
    if (bias == Family::Bias::as_config_says) return wanted;
    if (wanted)
        notes.push_back(concat(config.field(key), " is ignored for ", family.model_type, ", as in transformers"));
    return false;
}

void tell_ignored(ModelConfig& model, const JsonObject& config, const char* key, const Family& family) {
    model.notes.push_back(concat(config.field(key), " is ignored for ", family.model_type, ", as in transformers"));
}

// The activation of the MLP's gate. Gemma has a key of its own for it, and ignores the others'.
void read_gate(ModelConfig& model, const JsonObject& config, const Family& family) {
    const bool gelu = family.gate == Gate::gelu_tanh;
    const char* key = gelu ? "hidden_activation" : "hidden_act";
    const char* supported = gelu ? "gelu_pytorch_tanh" : "silu";
    const std::string activation = config.string(key, supported);
    require(activation == supported || (!gelu && activation == "swish"), config.field(key), " is \"", activation,
            "\", which is not supported; supported is ", supported);
    if (gelu && config.string("hidden_act", supported) != supported) tell_ignored(model, config, "hidden_act", family);
    model.gate = family.gate;
}

// What the values of the forward pass are multiplied by and capped at.
void read_factors(ModelConfig& model, const JsonObject& config, const Family& family) {
    const auto positive = [&](const char* key, double absent) { return config.number(key, 1e-6, 1e6, absent); };
    const std::pair<const char*, double&> multipliers[] = {{"embedding_multiplier", model.embedding_multiplier},
                                                           {"attention_multiplier", model.attention_multiplier},
                                                           {"residual_multiplier", model.residual_multiplier},
                                                           {"logits_scaling", model.logits_scaling}};
    for (const auto& [key, multiplier] : multipliers) {
        if (family.has_multipliers)
            multiplier = positive(key, 1);
        else if (config.has(key))
            tell_ignored(model, config, key, family);
    }
    if (family.scales_embedding_by_width)
        model.embedding_multiplier = std::sqrt(static_cast<double>(model.hidden_size));
    if (family.query_pre_attn_scalar > 0)
        model.attention_multiplier = 1 / std::sqrt(positive("query_pre_attn_scalar", family.query_pre_attn_scalar));
    // The tensor cores' tanh is good to 5e-7 of the cap. Released models have 30 and 50.
    const auto cap = [&](const char* key, double absent) {
        if (absent < 0) {
            if (config.has(key)) tell_ignored(model, config, key, family);
            return 0.0;
        }
        if (config.contains(key) ? !config.has(key) : absent == 0) return 0.0;
        return config.number(key, 1e-2, 1e3, absent);
    };
    model.attn_logit_softcapping = cap("attn_logit_softcapping", family.attn_logit_softcapping);
    model.final_logit_softcapping = cap("final_logit_softcapping", family.final_logit_softcapping);
}

// What makes the model another one than a causal language model, whatever its family.
void refuse_other_kinds(const JsonObject& config) {
    require(!config.has("quantization_config"), config.field("quantization_config"),
            ": a model that is already quantized cannot be read; use the original one in F32, F16 or BF16");
    require(config.boolean("is_causal", true), config.field("is_causal"),
            " is false: tokens would see those that follow, as in an encoder; only causal models are supported");
    require(!config.boolean("use_bidirectional_attention", false), config.field("use_bidirectional_attention"),
            " is true: tokens would see those that follow, as in an encoder; only causal models are supported");
}

}  // namespace

int64_t JointLinear::out_features() const {
    int64_t sum = 0;
    for (const LinearPart& part : parts) sum += part.out_features;
    return sum;
}

std::vector<NormVector> block_norms(const ModelConfig& config) {
    using Norms = ModelConfig::Norms;
    using QkNorm = ModelConfig::QkNorm;
    const int64_t hidden = config.hidden_size;
    std::vector<NormVector> norms;
    switch (config.norms) {
        case Norms::before:
            norms = {{kBeforeAttention, "input_layernorm", hidden}, {kBeforeMlp, "post_attention_layernorm", hidden}};
            break;
        case Norms::after:
            norms = {{kAfterAttention, "post_attention_layernorm", hidden},
                     {kAfterMlp, "post_feedforward_layernorm", hidden}};
            break;
        case Norms::around:
            norms = {{kBeforeAttention, "input_layernorm", hidden},
                     {kAfterAttention, "post_attention_layernorm", hidden},
                     {kBeforeMlp, "pre_feedforward_layernorm", hidden},
                     {kAfterMlp, "post_feedforward_layernorm", hidden}};
            break;
    }
    if (config.qk_norm != QkNorm::none) {
        const bool heads = config.qk_norm == QkNorm::heads;
        norms.push_back({kQueryNorm, "self_attn.q_norm", heads ? config.head_dim : config.q_size()});
        norms.push_back({kKeyNorm, "self_attn.k_norm", heads ? config.head_dim : config.kv_size()});
    }
    return norms;
}

std::string block_name(const ModelConfig& config, int64_t layer) {
    return concat(config.decoder(), ".layers.", layer);
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
    return {{"self_attn.qkv_proj", hidden, config.qkv_bias, std::move(qkv)},
            {"self_attn.o_proj", q, config.o_bias, {{"self_attn.o_proj", hidden}}},
            {"mlp.gate_up_proj", hidden, config.mlp_bias, std::move(gate_up)},
            {"mlp.down_proj", intermediate, config.mlp_bias, {{"mlp.down_proj", hidden}}}};
}

std::vector<JointLinear> all_joint_linears(const ModelConfig& config) {
    const std::vector<JointLinear> of_block = joint_linears(config);
    std::vector<JointLinear> all;
    for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
        for (JointLinear joint : of_block) {
            const std::string block = block_name(config, layer) + ".";
            joint.name = block + joint.name;
            for (LinearPart& part : joint.parts) part.name = block + part.name;
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
    require(
        path_is_directory(directory), directory.string(),
        ": is not a directory; give a Hugging Face model directory with config.json (to fetch org/name into "
        "Hugging Face's cache: scripts/fetch_model.sh org/name; into a folder: hf download org/name --local-dir DIR)");
    const std::filesystem::path path = directory / "config.json";
    require(path_exists(path), path.string(), ": is missing, so ", directory.string(),
            " is not a Hugging Face model directory");
    const json tree = read_json(path);
    const JsonObject whole(tree, path.string());

    refuse_other_kinds(whole);
    const Family& family = read_family(whole);
    const JsonObject config = family.wraps_text ? whole.object("text_config") : whole;
    refuse_other_kinds(config);
    if (family.wraps_text) {
        const std::string text = config.string("model_type", "gemma3_text");
        require(text == "gemma3_text", config.field("model_type"), " is ", text, "; of ", family.model_type,
                " only gemma3_text is supported");
    }
    ModelConfig model;
    model.architecture = family.architecture;
    model.norms = family.norms;
    model.qk_norm = family.qk_norm;
    model.norms_add_one = family.norms_add_one;
    read_gate(model, config, family);

    const auto required = [&](const char* key, int64_t most, int64_t absent) {
        return absent > 0 ? config.integer(key, 1, most, absent) : config.integer(key, 1, most);
    };
    model.vocab_size = required("vocab_size", kMaxVocabSize, family.vocab_size);
    model.hidden_size = config.integer("hidden_size", 1, kMaxChannels);
    model.intermediate_size = config.integer("intermediate_size", 1, kMaxChannels / 2);  // gate and up are one matrix
    model.num_hidden_layers = config.integer("num_hidden_layers", 1, kMaxLayers);
    model.num_attention_heads = required("num_attention_heads", kMaxHeads, family.num_attention_heads);
    const bool default_kv_heads = family.num_key_value_heads != 0 && !config.contains("num_key_value_heads");
    model.num_key_value_heads = config.integer(
        "num_key_value_heads", 1, kMaxHeads, default_kv_heads ? family.num_key_value_heads : model.num_attention_heads);
    require(model.num_attention_heads % model.num_key_value_heads == 0, config.field("num_attention_heads"), " (",
            model.num_attention_heads, ") must be a multiple of num_key_value_heads (", model.num_key_value_heads, ")");
    if (!config.has("head_dim") && family.head_dim == 0) {
        require(model.hidden_size % model.num_attention_heads == 0, config.field("hidden_size"), " (",
                model.hidden_size, ") must be a multiple of num_attention_heads (", model.num_attention_heads,
                ") when head_dim is not given");
    }
    model.head_dim =
        config.integer("head_dim", 1, kMaxHeadDim,
                       family.head_dim != 0 ? family.head_dim : model.hidden_size / model.num_attention_heads);
    require(model.head_dim >= 2 && model.head_dim <= kMaxHeadDim && model.head_dim % 2 == 0, config.file(),
            ": a head has ", model.head_dim,
            " channels (head_dim, or hidden_size / num_attention_heads); an even number up to ", kMaxHeadDim,
            " is needed");
    require(model.q_size() + 2 * model.kv_size() <= kMaxChannels, config.file(), ": ", model.num_attention_heads,
            " heads and 2 x ", model.num_key_value_heads, " key and value heads of ", model.head_dim,
            " channels are more than ", kMaxChannels, ", the most whose int8 products an int32 can sum");

    model.max_position_embeddings =
        config.integer("max_position_embeddings", 1, kMaxPositions, family.max_position_embeddings);
    model.rms_norm_eps = config.number("rms_norm_eps", 1e-12, 1, family.rms_norm_eps);
    model.layers = read_layers(config, family, model.num_hidden_layers, model.notes);
    model.o_bias = read_bias(config, "attention_bias", family.attention_bias, family, model.notes);
    model.qkv_bias = model.o_bias || family.attention_bias == Family::Bias::qkv;
    model.mlp_bias = read_bias(config, "mlp_bias", family.mlp_bias, family, model.notes);
    model.tie_word_embeddings = whole.boolean("tie_word_embeddings", family.tie_word_embeddings);
    read_factors(model, config, family);
    model.rope = read_rope(config, model);
    model.local_rope = read_local_rope(config, model);
    const JsonObject& with_tokens = whole.has("eos_token_id") ? whole : config;
    read_end_tokens(model, with_tokens, directory / "generation_config.json", family);
    std::vector<int32_t> default_bos;
    if (family.bos_token_id >= 0) default_bos.push_back(family.bos_token_id);
    const std::vector<int32_t> bos = read_token_ids(config, "bos_token_id", model.vocab_size, default_bos, model.notes);
    if (!bos.empty()) model.bos_token_id = bos[0];
    // Nothing is padded here; old configs write -1 for none.
    if (config.contains("pad_token_id") && config.value("pad_token_id") != -1)
        read_token_ids(config, "pad_token_id", model.vocab_size, {}, model.notes);
    return model;
}

}  // namespace quaff
