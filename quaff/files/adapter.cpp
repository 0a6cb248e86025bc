#include "quaff/files/adapter.h"

#include <algorithm>
#include <string_view>

#include "llmc/core/error.h"
#include "llmc/core/words.h"
#include "llmc/io/file_io.h"
#include "llmc/io/path.h"
#include "llmc/io/safetensors.h"

namespace quaff {

namespace {

constexpr const char* kPrefix = "base_model.model.";
constexpr const char* kLoraA = ".lora_A.weight";
constexpr const char* kLoraB = ".lora_B.weight";

// The index of a layer in "model.layers.<index>.<rest>" and the rest, or -1.
std::pair<int64_t, std::string> split_module(const std::string& module, const ModelConfig& model) {
    const std::string start = concat(model.decoder(), ".layers.");
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
    for (const JointLinear& joint : joint_linears(model)) {
        for (const LinearPart& part : joint.parts) {
            linears.push_back(part.name);
        }
    }
    for (const auto& [name, _] : file.tensors()) {
        const bool is_pair = name.starts_with(kPrefix) && (name.ends_with(kLoraA) || name.ends_with(kLoraB));
        require(
            is_pair, file.path().string(), ": tensor ", name,
            " is neither a lora_A nor a lora_B, and only those are supported; merge the adapter into its model with "
            "PEFT (merge_and_unload) and use the merged model");
        const size_t prefix = std::string_view(kPrefix).size();
        const auto [layer, rest] =
            split_module(name.substr(prefix, name.size() - prefix - std::string_view(kLoraA).size()), model);
        require(layer < model.num_hidden_layers, file.path().string(), ": tensor ", name, " is for layer ", layer,
                ", but the model has ", model.num_hidden_layers, " layers; the adapter belongs to another model");
        const bool found = std::find(linears.begin(), linears.end(), rest) != linears.end();
        require(layer >= 0 && found, file.path().string(), ": tensor ", name, " adapts no layer of a ",
                name_of(model.architecture), " model that LoRA is supported for; those are ", join(linears), " of ",
                block_name(model, 0), " .. ", model.num_hidden_layers - 1);
    }
}

// The modules that the file has tensors for and the config does not target, in words; "" if there are none.
std::string unused_modules(const SafetensorsFile& file, const LoraConfig& config, const ModelConfig& model) {
    std::vector<std::string> unused;
    for_each_linear(model, [&](const JointLinear&, const LinearPart& linear) {
        const bool stored =
            file.contains(kPrefix + linear.name + kLoraA) || file.contains(kPrefix + linear.name + kLoraB);
        if (stored && !config.targets(linear.name)) unused.push_back(linear.name);
    });
    if (unused.size() < 2) return unused.empty() ? "" : unused[0];
    return concat(unused[0], " and ", unused.size() - 1, " more");
}

}  // namespace

void write_adapter(const std::filesystem::path& directory, const LoraConfig& config,
                   std::span<const LoraAdapter> tensors) {
    make_directories(directory);
    std::vector<TensorSpec> specs;
    for (const LoraAdapter& tensor : tensors) {
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
    write_lora_config(directory, config, tensors);
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

Adapter::Adapter(const std::filesystem::path& directory, const ModelConfig& model)
    : config_(read_lora_config(directory)) {
    const std::string targets = concat((directory / kAdapterConfig).string(), ": field \"target_modules\"");
    require_linear_targets(config_, model, targets);
    const std::filesystem::path path = directory / kAdapterWeights;
    require(path_exists(path), path.string(),
            ": is missing; adapters are read from safetensors, save a .bin one again with a newer PEFT");
    const SafetensorsFile file(path);
    require(!file.tensors().empty(), path.string(), ": holds no tensor");
    check_tensor_names(file, model);
    const std::string unused = unused_modules(file, config_, model);
    if (!unused.empty())
        notes_.push_back(concat(path.string(), ": the tensors of ", unused,
                                " are not used, as in PEFT: target_modules and what restricts it (exclude_modules, "
                                "layers_to_transform) in ",
                                kAdapterConfig, " leave them out"));

    int64_t total = 0;
    for (const auto& [name, tensor] : file.tensors()) total += tensor.size();
    values_.resize(static_cast<size_t>(total));
    float* next = values_.data();
    const auto read = [&](const std::string& module, const char* which, int64_t rows, int64_t cols, int64_t r) {
        const std::string name = kPrefix + module + which;
        require(file.contains(name), path.string(), ": tensor ", name, " is missing, though ", kAdapterConfig,
                " has an adapter there; fetch the adapter again, or leave ", module,
                " out in target_modules, layers_to_transform or exclude_modules");
        const std::vector<int64_t> expected = {rows, cols};
        require(file.tensor(name).shape == expected, path.string(), ": tensor ", name, " has shape ",
                shape_to_string(file.tensor(name).shape), ", but rank ", r, " (r or rank_pattern)",
                " and the model's config.json ask for ", shape_to_string(expected),
                "; the adapter belongs to another model");
        const Matrix<float> values(next, rows, cols);
        file.read(name, {next, static_cast<size_t>(values.size())});
        next += values.size();
        return values;
    };
    for_each_linear(model, [&](const JointLinear& joint, const LinearPart& linear) {
        const std::string& module = linear.name;
        if (!config_.targets(module)) return;
        const int64_t r = config_.rank(module);
        LoraAdapter& adapter = tensors_.emplace_back();
        adapter.module = module;
        adapter.scaling = static_cast<float>(config_.scaling(module));
        adapter.a = read(module, kLoraA, r, joint.in_features, r);
        adapter.b = read(module, kLoraB, linear.out_features, r, r);
    });
}

const LoraAdapter* Adapter::find(const std::string& module) const {
    const auto it = std::find_if(tensors_.begin(), tensors_.end(), [&](const auto& t) { return t.module == module; });
    return it == tensors_.end() ? nullptr : &*it;
}

}  // namespace quaff
