#include "quaff/files/adapter.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "llmc/io/json.h"
#include "llmc/io/path.h"
#include "llmc/io/safetensors.h"

namespace quaff {

using nlohmann::json;
using nlohmann::ordered_json;

namespace {

constexpr const char* kPrefix = "base_model.model.";
constexpr const char* kLoraA = ".lora_A.weight";
constexpr const char* kLoraB = ".lora_B.weight";
constexpr int64_t kMaxRank = 65536;

// PEFT writes null, false, {} or [] for a feature that is off.
bool is_off(const json& value) {
    return value.is_null() || value == false || ((value.is_object() || value.is_array()) && value.empty());
}

// Fields of PEFT's LoraConfig that make an adapter compute what this program does not.
constexpr const char* kUnsupported[] = {
    "rank_pattern",      "alpha_pattern", "use_dora",      "modules_to_save",         "lora_bias",
    "layer_replication", "use_qalora",    "use_bdlora",    "trainable_token_indices", "alora_invocation_tokens",
    "target_parameters", "arrow_config",  "velora_config", "monteclora_config",       "kasa_config",
};

void refuse_variants(const JsonObject& config) {
    for (const char* field : kUnsupported) {
        if (config.contains(field) && !is_off(config.value(field))) {
            fail(config.field(field), " is ", describe(config.value(field)),
                 ", which is not supported: plain LoRA with one rank and one alpha for all layers is");
        }
    }
    const std::string bias = config.string("bias", "none");
    require(bias == "none", config.field("bias"), " is \"", bias, "\", which is not supported: \"none\" is");
    // PiSSA, OLoRA, CorDA and LoftQ change the frozen weights too, so their adapter does not fit the original model.
    if (config.has("init_lora_weights") && config.value("init_lora_weights").is_string()) {
        const std::string init = config.string("init_lora_weights");
        require(init == "gaussian" || init == "eva" || init == "orthogonal", config.field("init_lora_weights"),
                " is \"", init,
                "\", which changes the model's own weights and is not supported; convert the adapter to plain LoRA in "
                "PEFT");
    }
}

// The index of a layer in "model.layers.<index>.<rest>" and the rest, or -1.
std::pair<int64_t, std::string> split_module(const std::string& module) {
    const std::string start = "model.layers.";
    const size_t dot = module.find('.', start.size());
    if (!module.starts_with(start) || dot == module.npos || dot == start.size() || dot > start.size() + 6)
        return {-1, ""};
    int64_t layer = 0;
    for (size_t i = start.size(); i < dot; ++i) {
        if (module[i] < '0' || module[i] > '9') return {-1, ""};
        layer = 10 * layer + (module[i] - '0');
    }
    return {layer, module.substr(dot + 1)};
}

// Throws unless every tensor of the file is an A or a B of one of the model's linear layers.
void check_tensor_names(const SafetensorsFile& file, const ModelConfig& model) {
    std::vector<std::string> linears;
    std::string known;
    for (const JointLinear& joint : joint_linears(model)) {
        for (const LinearPart& part : joint.parts) {
            linears.push_back(part.name);
            known += (known.empty() ? "" : ", ") + part.name;
        }
    }
    for (const auto& [name, _] : file.tensors()) {
        const bool is_pair = name.starts_with(kPrefix) && (name.ends_with(kLoraA) || name.ends_with(kLoraB));
        require(is_pair, file.path().string(), ": tensor ", name,
                " is neither a lora_A nor a lora_B; only plain LoRA is supported");
        const size_t prefix = std::string_view(kPrefix).size();
        const auto [layer, rest] =
            split_module(name.substr(prefix, name.size() - prefix - std::string_view(kLoraA).size()));
        require(layer < model.num_hidden_layers, file.path().string(), ": tensor ", name, " is for layer ", layer,
                ", but the model has ", model.num_hidden_layers, " layers; the adapter belongs to another model");
        const bool found = std::find(linears.begin(), linears.end(), rest) != linears.end();
        require(layer >= 0 && found, file.path().string(), ": tensor ", name, " adapts no layer of a ",
                name_of(model.architecture), " model that LoRA is supported for; those are ", known,
                " of model.layers.0 .. ", model.num_hidden_layers - 1);
    }
}

// Throws unless every layer adapts what the first one does.
void check_same_layers(const SafetensorsFile& file, const ModelConfig& model) {
    for_each_linear(model, [&](const JointLinear&, const LinearPart& linear) {
        const auto [layer, name] = split_module(linear.name);
        const auto adapted = [&, &name = name](int64_t of) {
            return file.contains(concat(kPrefix, block_name(of), ".", name, kLoraA));
        };
        require(adapted(layer) == adapted(0), file.path().string(), ": ", name, " is adapted in layer ",
                adapted(0) ? 0 : layer, " but not in layer ", adapted(0) ? layer : 0,
                "; an adapter must adapt the same linear layers in every layer; does it belong to another model?");
    });
}

}  // namespace

void write_adapter(const std::filesystem::path& directory, const LoraConfig& config,
                   std::span<const LoraAdapter> tensors) {
    make_directories(directory);
    std::vector<std::string> targets;
    std::vector<TensorSpec> specs;
    for (const LoraAdapter& tensor : tensors) {
        const std::string target = tensor.module.substr(tensor.module.rfind('.') + 1);
        if (std::find(targets.begin(), targets.end(), target) == targets.end()) targets.push_back(target);
        specs.push_back({kPrefix + tensor.module + kLoraA, "F32", {tensor.a.rows, tensor.a.cols}});
        specs.push_back({kPrefix + tensor.module + kLoraB, "F32", {tensor.b.rows, tensor.b.cols}});
    }

    SafetensorsWriter writer(directory / kAdapterWeights, specs);
    const auto write = [&](const std::string& name, Matrix<const float> values) {
        if (values.contiguous()) return writer.write(name, std::span(values.data, static_cast<size_t>(values.size())));
        for (int64_t i = 0; i < values.rows; ++i) {
            writer.write(name, std::span(values.row(i), static_cast<size_t>(values.cols)));
        }
    };
    for (size_t i = 0; i < tensors.size(); ++i) {
        write(specs[2 * i].name, tensors[i].a);
        write(specs[2 * i + 1].name, tensors[i].b);
    }
    writer.finish();

    const bool whole_alpha = config.lora_alpha == std::floor(config.lora_alpha) && std::abs(config.lora_alpha) < 1e15;
    const ordered_json fields = {
        {"peft_type", "LORA"},
        {"task_type", "CAUSAL_LM"},
        {"auto_mapping", nullptr},
        {"base_model_name_or_path", config.base_model},
        {"revision", nullptr},
        {"inference_mode", true},
        {"r", config.r},
        // PEFT declares an integer, and some readers insist.
        {"lora_alpha",
         whole_alpha ? ordered_json(static_cast<int64_t>(config.lora_alpha)) : ordered_json(config.lora_alpha)},
        {"lora_dropout", config.lora_dropout},
        {"target_modules", targets},
        {"bias", "none"},
        {"fan_in_fan_out", false},
        {"init_lora_weights", true},
        {"use_rslora", config.use_rslora},
        {"use_dora", false},
        {"modules_to_save", nullptr},
        {"layers_to_transform", nullptr},
        {"layers_pattern", nullptr},
        {"rank_pattern", ordered_json::object()},
        {"alpha_pattern", ordered_json::object()},
    };
    write_file_atomically(directory / kAdapterConfig, dump_pretty(fields));
}

std::string adapter_below(const std::filesystem::path& directory) {
    if (!path_exists(directory / "adapter" / kAdapterConfig)) return "";
    return concat("; did you mean ", (directory / "adapter").string(), "?");
}

void require_no_adapter_inside(const std::filesystem::path& model_directory) {
    if (!path_exists(model_directory / kAdapterConfig)) return;
    require(path_exists(model_directory / "config.json"), model_directory.string(),
            " is an adapter and no model: give --adapter ", model_directory.string(),
            " and the model it was trained on with --model");
    for (const char* weights : {kAdapterWeights, "adapter_model.bin"}) {
        require(!path_exists(model_directory / weights), model_directory.string(), " holds an adapter (",
                kAdapterConfig, ") beside the model's weights: give --adapter ", model_directory.string(),
                " to use both, or move ", kAdapterConfig, " and ", weights, " away to use the model alone");
    }
}

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
    config.r = fields.integer("r", 1, kMaxRank);
    config.lora_alpha = fields.number("lora_alpha", -1e6, 1e6);
    config.lora_dropout = fields.number("lora_dropout", 0, 1, 0);
    require(config.lora_dropout < 1, fields.field("lora_dropout"), " must be smaller than 1");
    config.use_rslora = fields.boolean("use_rslora", false);
    config.base_model = fields.string("base_model_name_or_path", "");
    if (fields.has("target_modules")) {
        const bool pattern = fields.value("target_modules").is_string();
        config.target_modules =
            pattern ? std::vector{fields.string("target_modules")} : fields.strings("target_modules");
    }
    return config;
}

Adapter::Adapter(const std::filesystem::path& directory, const ModelConfig& model)
    : config_(read_lora_config(directory)) {
    const std::filesystem::path path = directory / kAdapterWeights;
    require(path_exists(path), path.string(),
            ": is missing; adapters are read from safetensors, save a .bin one again with a newer PEFT");
    const SafetensorsFile file(path);
    require(!file.tensors().empty(), path.string(), ": holds no tensor");
    check_tensor_names(file, model);
    check_same_layers(file, model);

    int64_t total = 0;
    for (const auto& [name, tensor] : file.tensors()) total += tensor.size();
    values_.resize(static_cast<size_t>(total));
    float* next = values_.data();
    const auto read = [&](const std::string& module, const char* which, int64_t rows, int64_t cols) {
        const std::string name = kPrefix + module + which;
        require(file.contains(name), path.string(), ": tensor ", name,
                " is missing, though the other one of its pair is there");
        const std::vector<int64_t> expected = {rows, cols};
        require(file.tensor(name).shape == expected, path.string(), ": tensor ", name, " has shape ",
                shape_to_string(file.tensor(name).shape), ", but r = ", config_.r,
                " and the model's config.json ask for ", shape_to_string(expected),
                "; the adapter belongs to another model");
        const Matrix<float> values(next, rows, cols);
        file.read(name, {next, static_cast<size_t>(values.size())});
        next += values.size();
        return values;
    };
    for_each_linear(model, [&](const JointLinear& joint, const LinearPart& linear) {
        const std::string& module = linear.name;
        if (!file.contains(kPrefix + module + kLoraA) && !file.contains(kPrefix + module + kLoraB)) return;
        LoraAdapter& adapter = tensors_.emplace_back();
        adapter.module = module;
        adapter.a = read(module, kLoraA, config_.r, joint.in_features);
        adapter.b = read(module, kLoraB, linear.out_features, config_.r);
    });
}

const LoraAdapter* Adapter::find(const std::string& module) const {
    const auto it = std::find_if(tensors_.begin(), tensors_.end(), [&](const auto& t) { return t.module == module; });
    return it == tensors_.end() ? nullptr : &*it;
}

}  // namespace quaff
