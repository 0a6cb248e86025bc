#include "quaff/files/info.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "llmc/core/bytes.h"
#include "llmc/core/error.h"
#include "llmc/core/words.h"
#include "llmc/io/json.h"
#include "llmc/io/path.h"
#include "llmc/io/safetensors.h"
#include "llmc/system/terminal.h"
#include "quaff/files/adapter.h"
#include "quaff/files/model_files.h"
#include "quaff/files/outliers.h"
#include "quaff/files/quaff_json.h"

namespace quaff {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

namespace {

// null: no layer has one; a number: all layers have it; a list where they differ, 0 for none.
ordered_json windows_of(const ModelConfig& config) {
    std::vector<int64_t> windows;
    for (const LayerConfig& layer : config.layers) windows.push_back(layer.sliding_window);
    const int64_t first = windows.at(0);
    if (std::ranges::any_of(windows, [&](int64_t window) { return window != first; })) return windows;
    return first == 0 ? ordered_json() : ordered_json(first);
}

std::string rope_in_words(const ModelConfig& config) {
    const RopeConfig& rope = config.rope;
    std::string text = concat("theta ", rope.theta);
    switch (rope.type) {
        case RopeConfig::Type::standard:
            break;
        case RopeConfig::Type::linear:
            text += concat(", linear, factor ", rope.factor);
            break;
        case RopeConfig::Type::llama3:
            text += concat(", llama3, factor ", rope.factor, " beyond ", rope.original_max_position_embeddings,
                           " positions");
            break;
        case RopeConfig::Type::yarn:
            text +=
                concat(", yarn, factor ", rope.factor, " beyond ", rope.original_max_position_embeddings, " positions");
            break;
        case RopeConfig::Type::longrope:
            text += concat(", longrope beyond ", rope.original_max_position_embeddings, " positions");
            break;
    }
    if (rope.partial_rotary_factor != 1) text += concat(", ", rope.partial_rotary_factor, " of each head");
    if (std::ranges::any_of(config.layers, [](const LayerConfig& layer) { return layer.local_rope; }))
        text += concat("; theta ", config.local_rope.theta, " in layers with a window");
    const auto without = std::ranges::count_if(config.layers, [](const LayerConfig& layer) { return !layer.has_rope; });
    if (without > 0) text += concat(", not in ", without, " of the layers");
    return text;
}

// What the forward pass does beyond LLaMA's, as far as config.json says it by numbers.
std::string factors_in_words(const ModelConfig& config) {
    std::vector<std::string> factors;
    const auto add = [&](const char* what, double value, double usual) {
        if (value != usual) factors.push_back(concat(what, " ", value));
    };
    add("embedding x", config.embedding_multiplier, 1);
    add("scores x", config.attention_multiplier, 0);
    add("scores capped at", config.attn_logit_softcapping, 0);
    add("residual branches x", config.residual_multiplier, 1);
    add("logits /", config.logits_scaling, 1);
    add("logits capped at", config.final_logit_softcapping, 0);
    return join(factors);
}

ordered_json inspect_model(const fs::path& path) {
    const ModelFiles checkpoint(path);
    const ModelConfig& config = checkpoint.config();
    int64_t parameters = 0, bytes = 0;
    std::set<std::string> dtypes;
    for (const SafetensorsFile& shard : checkpoint.shards()) {
        for (const auto& [name, tensor] : shard.tensors()) {
            parameters += tensor.size();
            bytes += static_cast<int64_t>(tensor.bytes.size());
            dtypes.insert(tensor.dtype);
        }
    }
    int64_t quantized = 0;
    for (const JointLinear& linear : all_joint_linears(config)) quantized += linear.in_features * linear.out_features();
    ordered_json info = {{"kind", "model"},
                         {"path", path.string()},
                         {"architecture", name_of(config.architecture)},
                         {"parameters", parameters},
                         {"int8_parameters", quantized},
                         {"dtype", dtypes},
                         {"bytes", bytes},
                         {"files", checkpoint.shards().size()},
                         {"vocab_size", config.vocab_size},
                         {"hidden_size", config.hidden_size},
                         {"intermediate_size", config.intermediate_size},
                         {"num_hidden_layers", config.num_hidden_layers},
                         {"num_attention_heads", config.num_attention_heads},
                         {"num_key_value_heads", config.num_key_value_heads},
                         {"head_dim", config.head_dim},
                         {"max_position_embeddings", config.max_position_embeddings},
                         {"sliding_window", windows_of(config)},
                         {"tie_word_embeddings", config.tie_word_embeddings},
                         {"rope", rope_in_words(config)},
                         {"eos_token_ids", config.eos_token_ids}};
    if (const std::string factors = factors_in_words(config); !factors.empty()) info["factors"] = factors;
    if (!config.notes.empty()) info["notes"] = config.notes;
    return info;
}

// What makes some layers of an adapter differ from the others, as far as it does.
void add_choice(ordered_json& info, const LoraConfig& config) {
    if (config.use_rslora) info["use_rslora"] = true;
    const ModuleNames& excluded = config.exclude_modules;
    if (config.target_modules.expression()) info["target_expression"] = config.target_modules.expression()->text();
    if (excluded.expression())
        info["exclude_modules"] = excluded.expression()->text();
    else if (!excluded.empty())
        info["exclude_modules"] = excluded.list();
    if (!config.layers_to_transform.empty()) info["layers_to_transform"] = config.layers_to_transform;
    for (const auto& [pattern, rank] : config.rank_pattern) info["rank_pattern"][pattern.text()] = rank;
    for (const auto& [pattern, alpha] : config.alpha_pattern) info["alpha_pattern"][pattern.text()] = alpha;
}

ordered_json inspect_adapter(const fs::path& path) {
    const LoraConfig config = read_lora_config(path);
    const auto r = static_cast<double>(config.r);
    const SafetensorsFile file(path / kAdapterWeights);
    int64_t parameters = 0;
    std::set<std::string> targets;  // of the tensors: the list in adapter_config.json may be a pattern
    for (const auto& [name, tensor] : file.tensors()) {
        parameters += tensor.size();
        const std::string module = name.substr(0, name.find(".lora_"));
        targets.insert(module.substr(module.rfind('.') + 1));
    }
    ordered_json info = {{"kind", "adapter"},
                         {"path", path.string()},
                         {"base_model", config.base_model},
                         {"r", config.r},
                         {"lora_alpha", config.lora_alpha},
                         {"lora_dropout", config.lora_dropout},
                         {"scaling", config.lora_alpha / (config.use_rslora ? std::sqrt(r) : r)},
                         {"target_modules", targets},
                         {"parameters", parameters},
                         {"tensors", file.tensors().size()}};
    add_choice(info, config);
    if (!path_exists(path / kQuaffJson)) return info;
    const json tree = read_json(path / kQuaffJson);
    const JsonObject state(tree, (path / kQuaffJson).string());
    info["method"] = state.string("method");
    const std::optional<Method> method = parse_method(state.string("method"));
    const bool chooses = method && linear_method(*method).outliers && !has_smoothing(*method);
    for (const char* key : {"rotation", "outlier_term"})
        if (state.has(key) && chooses) info[key] = state.value(key);
    for (const char* key : {"scale_strength", "int8_threshold", "smooth_alpha"})
        if (state.has(key)) info[key] = state.value(key);
    if (state.has("chat")) {
        const JsonObject chat = state.object("chat");
        info["template"] = chat.string("template");
        for (const char* name : {"date", "loss_on", "train_on_source", "data_format"})
            if (chat.has(name)) info[name] = chat.value(name);
    }
    if (state.has("outliers")) {
        int64_t channels = 0;
        for (const auto& [module, list] : state.object("outliers").object("channels").tree().items()) {
            channels += static_cast<int64_t>(list.size());
        }
        info["outlier_channels"] = channels;
    }
    return info;
}

// A checkpoint is an adapter with the state of its training: state.json's plain values are added as they are.
ordered_json inspect_checkpoint(const fs::path& path) {
    ordered_json info = inspect_adapter(path);
    info["kind"] = "checkpoint";
    const json tree = read_json(path / "state.json");
    const JsonObject state(tree, (path / "state.json").string());
    for (const auto& [key, value] : state.tree().items()) {
        if (value.is_primitive() && !info.contains(key)) info[key] = value;
    }
    return info;
}

// Counts the lists. Whether they fit a model is checked when the file is used with one.
ordered_json inspect_outliers(const fs::path& path) {
    const json tree = read_json(path);
    const JsonObject file(tree, path.string());
    const JsonObject channels = file.object("channels");
    std::map<std::string, int64_t> per_module;
    int64_t total = 0;
    for (const auto& [module, list] : channels.tree().items()) {
        if (!list.is_array()) channels.fail_field(module, "a list of channels");
        per_module[module.substr(module.rfind('.') + 1)] += static_cast<int64_t>(list.size());
        total += static_cast<int64_t>(list.size());
    }
    ordered_json info = {{"kind", "outliers"}, {"path", path.string()}};
    for (const char* key : {"model", "strategy", "threshold", "max_ratio", "dataset", "samples"}) {
        if (file.has(key)) info[key] = file.value(key);
    }
    info["layers"] = channels.tree().size();
    info["outlier_channels"] = total;
    info["outlier_channels_per_module"] = per_module;
    info["has_max_abs"] = file.has("max_abs");
    return info;
}

}  // namespace

Kind kind_of(const fs::path& path) {
    require(path_exists(path), path.string(), ": does not exist");
    if (!path_is_directory(path)) {
        refuse_gguf(path);
        const json tree = read_json(path);
        require(JsonObject(tree, path.string()).has("channels"), path.string(),
                ": is not an outlier file; it has no \"channels\"");
        return Kind::outliers;
    }
    const bool has_weights = path_exists(path / "model.safetensors") || path_exists(path / kIndex);
    const bool is_model = path_exists(path / "config.json") && has_weights;  // config.json alone may lie by an adapter
    if (path_exists(path / kAdapterConfig) && !is_model)
        return path_exists(path / "state.json") ? Kind::checkpoint : Kind::adapter;
    if (path_exists(path / "config.json")) return Kind::model;
    fail(path.string(),
         ": is neither a model (config.json), an adapter or checkpoint (adapter_config.json), nor an outlier file",
         adapter_below(path));
}

ordered_json inspect(const fs::path& path) {
    switch (kind_of(path)) {
        case Kind::model: {
            ordered_json info = inspect_model(path);
            if (path_exists(path / kAdapterConfig)) info["adapter"] = inspect_adapter(path);
            return info;
        }
        case Kind::adapter:
            return inspect_adapter(path);
        case Kind::checkpoint:
            return inspect_checkpoint(path);
        case Kind::outliers:
            break;
    }
    return inspect_outliers(path);
}

std::string info_text(const ordered_json& info) {
    size_t width = 0;
    for (const auto& [key, value] : info.items()) width = std::max(width, key.size());
    std::string text;
    for (const auto& [key, value] : info.items()) {
        if (key == "adapter") {  // beside a model
            text += "\n" + info_text(value);
            continue;
        }
        std::string shown;
        if (value.is_null()) {
            shown = "none";
        } else if (value.is_string()) {
            shown = value.get<std::string>();
        } else if (value.is_structured()) {
            for (const auto& [name, item] : value.items()) {
                if (!shown.empty()) shown += ", ";
                if (value.is_object()) shown += name + " ";
                shown += item.is_string() ? item.get<std::string>() : item.dump();
            }
        } else {
            shown = value.dump();
            const bool count = value.is_number_integer();
            if (count && key == "bytes") shown = format_bytes(value.get<int64_t>());
            if (count && key.ends_with("parameters")) shown = format_count(value.get<int64_t>());
        }
        std::string label = key;
        std::replace(label.begin(), label.end(), '_', ' ');
        label.resize(width + 2, ' ');
        text += concat(label, shown, "\n");
    }
    return printable(text);
}

}  // namespace quaff
