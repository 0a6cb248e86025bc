#include "quaff/files/adapter_config.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "llmc/io/json.h"
#include "llmc/io/path.h"

namespace quaff {

using nlohmann::json;
using nlohmann::ordered_json;

namespace {

constexpr int64_t kMaxRank = 65536;
constexpr double kMaxAlpha = 1e6;
constexpr size_t kMaxPatterns = 10'000;  // more than any model's linears
constexpr size_t kMaxExpressions = 100;  // that may take long to match, as those with repetitions or choices
constexpr const char* kAllLinear = "all-linear";

// What read_lora_config() takes, and what changes nothing about what an adapter computes: records, and the settings of
// an initialisation, which the file's tensors have behind them. PEFT sets fan_in_fan_out to false for these layers.
constexpr std::string_view kKnown[] = {
    "peft_type",           "r",
    "lora_alpha",          "lora_dropout",
    "use_rslora",          "bias",
    "init_lora_weights",   "target_modules",
    "exclude_modules",     "layers_to_transform",
    "layers_pattern",      "rank_pattern",
    "alpha_pattern",       "base_model_name_or_path",
    "auto_mapping",        "revision",
    "task_type",           "inference_mode",
    "peft_version",        "runtime_config",
    "megatron_core",       "qalora_group_size",
    "ensure_weight_tying", "fan_in_fan_out",
    "loftq_config",        "eva_config",
    "corda_config",        "lora_ga_config",
};

constexpr const char* kMerge = "; merge it into its model with PEFT (merge_and_unload) and use the merged model";
constexpr const char* kPlain = "; use a plain LoRA adapter";

// Fields that make an adapter compute what this program does not.
struct Unsupported {
    std::string_view field;
    const char* effect;
    const char* advice;
};
constexpr Unsupported kUnsupported[] = {
    {"use_dora", "DoRA scales whole rows of the weights", kMerge},
    {"modules_to_save", "the adapter replaces whole modules of the model", kMerge},
    {"trainable_token_indices", "the adapter replaces rows of the embedding", kMerge},
    {"target_parameters", "the adapter changes parameters that are no linear layers", kMerge},
    {"layer_replication", "the adapter repeats layers of the model", kMerge},
    {"use_qalora", "QALoRA pools the adapter's input", kMerge},
    {"kasa_config", "KaSA changes the model's own weights", kMerge},
    {"lora_bias", "B has a bias of its own", kPlain},
    {"alora_invocation_tokens", "the adapter begins in the middle of a text", kPlain},
    {"arrow_config", "several adapters are mixed token by token", kPlain},
    {"use_bdlora", "A or B is block-diagonal", kPlain},
    {"velora_config", "VeLoRA trains in another way", kPlain},
    {"monteclora_config", "the adapter is drawn at random", kPlain},
    {"megatron_config", "the adapter is one of Megatron's parallel layers", kPlain},
};

// PEFT writes null, false, "", {} or [] for a feature that is off.
bool is_off(const json& value) {
    if (value.is_structured()) return std::ranges::all_of(value, is_off);
    return value.is_null() || value == false || value == "";
}

void refuse_variants(const JsonObject& config) {
    for (const auto& [field, effect, advice] : kUnsupported) {
        const std::string name(field);
        if (config.contains(name) && !is_off(config.value(name)))
            fail(config.field(name), " is ", describe(config.value(name)), ", which is not supported (", effect, ")",
                 advice);
    }
    const std::string bias = config.string("bias", "none");
    require(bias == "none", config.field("bias"), " is \"", bias, "\", which is not supported: \"none\" is");
    // PiSSA, OLoRA, CorDA, LoRA-GA and LoftQ change the frozen weights too, so their adapter does not fit the original
    // model; MiCA does not train B.
    if (config.has("init_lora_weights") && config.value("init_lora_weights").is_string()) {
        const std::string init = config.string("init_lora_weights");
        require(init == "gaussian" || init == "eva" || init == "orthogonal", config.field("init_lora_weights"),
                " is \"", init,
                "\", which changes the model's own weights and is not supported; convert the adapter to plain LoRA in "
                "PEFT");
    }
    for (const auto& [field, value] : config.tree().items()) {
        const bool known = std::ranges::find(kKnown, std::string_view(field)) != std::end(kKnown);
        if (!known && !is_off(value))
            fail(config.field(field), " is ", describe(value),
                 ", and this program does not know what it does; remove the field if the adapter is plain LoRA all the "
                 "same");
    }
}

// A string or a list of them.
std::vector<std::string> strings_or_one(const JsonObject& config, const std::string& key) {
    if (!config.has(key)) return {};
    return config.value(key).is_string() ? std::vector{config.string(key)} : config.strings(key);
}

// Each name is compared with each linear of the model.
void require_few(size_t count, const JsonObject& config, const std::string& key, size_t most = kMaxPatterns) {
    require(count <= most, config.field(key), " has ", count, " entries; up to ", most, " are supported");
}

// Each expression that may take long is tried on each linear, too.
void require_few_expressions(const LoraConfig& lora, const std::string& file) {
    size_t count = 0;
    const auto add = [&](const ModulePattern& pattern) {
        count += pattern.text().find_first_of("*+?{(|[") != std::string::npos;
    };
    for (const ModulePattern& pattern : lora.layers_pattern) add(pattern);
    for (const auto& [pattern, _] : lora.rank_pattern) add(pattern);
    for (const auto& [pattern, _] : lora.alpha_pattern) add(pattern);
    require(count <= kMaxExpressions, file, ": rank_pattern, alpha_pattern and layers_pattern have ", count,
            " regular expressions with repetitions or choices; up to ", kMaxExpressions,
            " are supported, write the others as names");
}

ModuleNames read_names(const JsonObject& config, const std::string& key) {
    if (!config.has(key)) return {};
    if (config.value(key).is_string()) {
        const std::string expression = config.string(key);
        if (expression.empty()) return {};
        return ModuleNames(ModulePattern::whole(expression, config.field(key)));
    }
    std::vector<std::string> list = config.strings(key);
    require_few(list.size(), config, key);
    return list;
}

// PEFT compares without regard to case.
bool is_all_linear(const json& value) {
    if (!value.is_string()) return false;
    std::string text = value.get<std::string>();
    std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text == kAllLinear;
}

void read_targets(const JsonObject& config, LoraConfig& lora) {
    const char* key = "target_modules";
    if (!config.has(key)) {
        lora.target_modules = std::vector<std::string>{"q_proj", "v_proj"};  // PEFT's own choice for LLaMA and Mistral
    } else if (!is_all_linear(config.value(key))) {
        lora.target_modules = read_names(config, key);
        require(!lora.target_modules.empty(), config.field(key), " is empty: the adapter changes nothing");
    }
    lora.exclude_modules = read_names(config, "exclude_modules");
}

void read_layers(const JsonObject& config, LoraConfig& lora) {
    const char *layers = "layers_to_transform", *pattern = "layers_pattern";
    if (config.has(layers)) {
        const json& value = config.value(layers);
        const json list = value.is_array() ? value : json::array({value});
        for (const json& layer : list) {
            if (!layer.is_number_integer()) config.fail_field(layers, "the index of a layer or a list of them");
            lora.layers_to_transform.push_back(layer.get<int64_t>());
        }
        require_few(lora.layers_to_transform.size(), config, layers);
    }
    const std::vector<std::string> patterns = strings_or_one(config, pattern);
    require_few(patterns.size(), config, pattern, kMaxExpressions);
    for (const std::string& text : patterns)
        lora.layers_pattern.push_back(ModulePattern::layers(text, config.field(pattern)));
    // As PEFT does.
    const bool restricted = config.has(layers) || !patterns.empty();
    require(!restricted || !config.has("target_modules") || !config.value("target_modules").is_string(),
            config.field(config.has(layers) ? layers : pattern),
            " needs a list in target_modules, and there is an expression; write the layers into the expression");
    require(patterns.empty() || config.has(layers), config.field(pattern), " is there without layers_to_transform");
}

// The fields of each object within the file's, as they stand there; a json sorts them.
std::map<std::string, std::vector<std::string>> fields_in_order(const std::string& text) {
    std::map<std::string, std::vector<std::string>> fields;
    std::string object;
    const auto note = [&](int depth, json::parse_event_t event, json& value) {
        if (event == json::parse_event_t::key && depth == 1) object = value.get<std::string>();
        if (event == json::parse_event_t::key && depth == 2) fields[object].push_back(value.get<std::string>());
        return true;
    };
    [[maybe_unused]] const json tree = json::parse(text, note);
    return fields;
}

// rank_pattern and alpha_pattern: the first that matches counts.
template <class Value, class Read>
std::vector<PatternValue<Value>> read_patterns(const JsonObject& config, const std::string& key,
                                               const std::vector<std::string>& in_order, const Read& read) {
    std::vector<PatternValue<Value>> patterns;
    if (!config.has(key)) return patterns;
    const JsonObject values = config.object(key);
    require_few(in_order.size(), config, key);
    patterns.reserve(in_order.size());
    for (const std::string& text : in_order)
        patterns.push_back({ModulePattern::end(text, config.field(key)), read(values, text)});
    return patterns;
}

// PEFT declares an integer, and some readers insist.
ordered_json alpha_to_json(double alpha) {
    const bool whole = alpha == std::floor(alpha) && std::abs(alpha) < 1e15;
    return whole ? ordered_json(static_cast<int64_t>(alpha)) : ordered_json(alpha);
}

ordered_json names_to_json(const ModuleNames& names) {
    if (names.expression()) return names.expression()->text();
    return names.empty() ? ordered_json() : ordered_json(names.list());
}

// The last names of the layers that have adapters.
std::vector<std::string> layer_names(std::span<const LoraAdapter> tensors) {
    std::vector<std::string> names;
    for (const LoraAdapter& tensor : tensors) {
        const std::string name = tensor.module.substr(tensor.module.rfind('.') + 1);
        if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    }
    return names;
}

}  // namespace

LoraConfig read_lora_config(const std::filesystem::path& directory) {
    const std::filesystem::path path = directory / kAdapterConfig;
    require(path_exists(path), directory.string(),
            ": is not an adapter directory; it has no adapter_config.json, which PEFT writes next to "
            "adapter_model.safetensors",
            adapter_below(directory));
    const json tree = read_json(path);
    const JsonObject fields(tree, path.string());
    const std::string type = fields.string("peft_type");
    require(type == "LORA", fields.field("peft_type"), " is \"", type, "\", which is not supported: \"LORA\" is");
    refuse_variants(fields);
    LoraConfig config;
    config.r = fields.integer("r", 1, kMaxRank, 8);
    config.lora_alpha = fields.number("lora_alpha", -kMaxAlpha, kMaxAlpha, 8);
    config.lora_dropout = fields.number("lora_dropout", 0, 1, 0);
    require(config.lora_dropout < 1, fields.field("lora_dropout"), " must be smaller than 1");
    config.use_rslora = fields.boolean("use_rslora", false);
    config.base_model = fields.string("base_model_name_or_path", "");
    read_targets(fields, config);
    read_layers(fields, config);
    auto in_order = fields_in_order(read_file(path));  // read_json() found it good
    config.rank_pattern = read_patterns<int64_t>(
        fields, "rank_pattern", in_order["rank_pattern"],
        [](const JsonObject& ranks, const std::string& text) { return ranks.integer(text, 1, kMaxRank); });
    config.alpha_pattern = read_patterns<double>(
        fields, "alpha_pattern", in_order["alpha_pattern"],
        [](const JsonObject& alphas, const std::string& text) { return alphas.number(text, -kMaxAlpha, kMaxAlpha); });
    require_few_expressions(config, path.string());
    return config;
}

void write_lora_config(const std::filesystem::path& directory, const LoraConfig& config,
                       std::span<const LoraAdapter> tensors) {
    std::vector<std::string> layers_patterns;
    for (const ModulePattern& pattern : config.layers_pattern) layers_patterns.push_back(pattern.text());
    ordered_json ranks = ordered_json::object(), alphas = ordered_json::object();
    for (const auto& [pattern, rank] : config.rank_pattern) ranks[pattern.text()] = rank;
    for (const auto& [pattern, alpha] : config.alpha_pattern) alphas[pattern.text()] = alpha_to_json(alpha);
    const auto list_or_null = [](const auto& list) { return list.empty() ? ordered_json() : ordered_json(list); };
    const ordered_json fields = {
        {"peft_type", "LORA"},
        {"task_type", "CAUSAL_LM"},
        {"auto_mapping", nullptr},
        {"base_model_name_or_path", config.base_model},
        {"revision", nullptr},
        {"inference_mode", true},
        {"r", config.r},
        {"lora_alpha", alpha_to_json(config.lora_alpha)},
        {"lora_dropout", config.lora_dropout},
        {"target_modules",
         config.target_modules.empty() ? ordered_json(layer_names(tensors)) : names_to_json(config.target_modules)},
        {"exclude_modules", names_to_json(config.exclude_modules)},
        {"bias", "none"},
        {"fan_in_fan_out", false},
        {"init_lora_weights", true},
        {"use_rslora", config.use_rslora},
        {"use_dora", false},
        {"modules_to_save", nullptr},
        {"layers_to_transform", list_or_null(config.layers_to_transform)},
        {"layers_pattern", list_or_null(layers_patterns)},
        {"rank_pattern", ranks},
        {"alpha_pattern", alphas},
    };
    write_file_atomically(directory / kAdapterConfig, dump_pretty(fields));
}

std::string adapter_below(const std::filesystem::path& directory) {
    if (!path_exists(directory / "adapter" / kAdapterConfig)) return "";
    return concat("; did you mean ", (directory / "adapter").string(), "?");
}

}  // namespace quaff
