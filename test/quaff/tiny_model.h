// A Hugging Face directory small enough to look at: two layers, hidden size 8, written by the test itself.
#pragma once

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "llmc/core/dtype.h"
#include "llmc/io/safetensors.h"
#include "quaff/files/adapter.h"
#include "quaff/files/model_config.h"
#include "test/files.h"

namespace test {

inline nlohmann::json tiny_config(const std::string& model_type = "llama") {
    nlohmann::json config = {{"model_type", model_type}, {"vocab_size", 11},       {"hidden_size", 8},
                             {"intermediate_size", 12},  {"num_hidden_layers", 2}, {"num_attention_heads", 2},
                             {"num_key_value_heads", 1}, {"bos_token_id", 1},      {"eos_token_id", 2}};
    return config;
}

// Values without a pattern, about one in size, the same on every machine.
inline std::vector<float> some_values(int64_t n, int seed) {
    std::vector<float> values;
    for (int64_t i = 0; i < n; ++i) {
        const double x = std::sin(12.9898 * static_cast<double>(i) + 78.233 * seed) * 43758.5453;
        values.push_back(static_cast<float>(2 * (x - std::floor(x)) - 1));
    }
    return values;
}

// Name and shape of every tensor that a model with this config has.
inline std::vector<llmc::TensorSpec> weight_specs(const quaff::ModelConfig& config, const std::string& dtype) {
    std::vector<llmc::TensorSpec> specs = {
        {llmc::concat(config.decoder(), ".embed_tokens.weight"), dtype, {config.vocab_size, config.hidden_size}}};
    for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
        const std::string prefix = quaff::block_name(config, layer) + ".";
        for (const quaff::NormVector& norm : quaff::block_norms(config))
            specs.push_back({prefix + norm.name + ".weight", dtype, {norm.size}});
        for (const quaff::JointLinear& joint : quaff::joint_linears(config))
            for (const quaff::LinearPart& part : joint.parts) {
                specs.push_back({prefix + part.name + ".weight", dtype, {part.out_features, joint.in_features}});
                if (joint.bias) specs.push_back({prefix + part.name + ".bias", dtype, {part.out_features}});
            }
    }
    specs.push_back({llmc::concat(config.decoder(), ".norm.weight"), dtype, {config.hidden_size}});
    specs.push_back({"lm_head.weight", dtype, {config.vocab_size, config.hidden_size}});
    return specs;
}

inline void write_tensors(const std::filesystem::path& path, const std::vector<llmc::TensorSpec>& specs) {
    llmc::SafetensorsWriter writer(path, specs);
    int seed = 0;
    for (const llmc::TensorSpec& spec : specs) {
        int64_t n = 1;
        for (const int64_t extent : spec.shape) n *= extent;
        const llmc::DType dtype = spec.dtype == "F16"    ? llmc::DType::f16
                                  : spec.dtype == "BF16" ? llmc::DType::bf16
                                                         : llmc::DType::f32;
        const std::vector<float> values = some_values(n, ++seed);
        std::vector<std::byte> bytes(static_cast<size_t>(n * llmc::size_of(dtype)));
        llmc::from_float(dtype, values.data(), bytes.data(), n);
        writer.write(spec.name, bytes);
    }
    writer.finish();
}

// config.json and model.safetensors, or two shards and their index.
inline void write_tiny_model(const TempDir& directory, const nlohmann::json& config = tiny_config(),
                             const std::string& dtype = "F32", bool sharded = false) {
    directory.write("config.json", config.dump(1));
    const auto specs = weight_specs(quaff::read_model_config(directory.path()), dtype);
    if (!sharded) return write_tensors(directory / "model.safetensors", specs);
    const auto middle = specs.begin() + static_cast<int64_t>(specs.size() / 2);
    const std::string names[] = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"};
    nlohmann::json index = {{"metadata", {{"total_size", 1}}}};
    for (auto it = specs.begin(); it != specs.end(); ++it) index["weight_map"][it->name] = names[it < middle ? 0 : 1];
    write_tensors(directory / names[0], {specs.begin(), middle});
    write_tensors(directory / names[1], {middle, specs.end()});
    directory.write("model.safetensors.index.json", index.dump(1));
}

using ChangeWeight = std::function<void(const std::string& name, llmc::Matrix<float> weight)>;

// Rewrites the tensors of a file in F32, each after `change` has edited it.
inline void change_weights(const std::filesystem::path& path, const ChangeWeight& change) {
    std::vector<llmc::TensorSpec> specs;
    std::vector<std::vector<float>> values;
    {
        const llmc::SafetensorsFile file(path);
        for (const auto& [name, tensor] : file.tensors()) {
            specs.push_back({name, "F32", tensor.shape});
            values.emplace_back(static_cast<size_t>(tensor.size()));
            file.read(name, values.back());
            change(name, {values.back().data(), tensor.shape[0], tensor.size() / tensor.shape[0]});
        }
    }
    llmc::SafetensorsWriter writer(path, specs);
    for (size_t i = 0; i < specs.size(); ++i) writer.write(specs[i].name, std::span<const float>(values[i]));
    writer.finish();
}

// An adapter of o_proj and down_proj, rank 3, alpha 6, written for the model in `model`.
inline void write_tiny_adapter(const std::filesystem::path& model, const std::filesystem::path& adapter,
                               float size = 1) {
    const quaff::ModelConfig config = quaff::read_model_config(model);
    std::vector<std::vector<float>> values;
    std::vector<quaff::LoraAdapter> adapters;
    quaff::for_each_linear(config, [&](const quaff::JointLinear& joint, const quaff::LinearPart& part) {
        if (!part.name.ends_with(".o_proj") && !part.name.ends_with(".down_proj")) return;
        const int layer = part.name.starts_with(quaff::block_name(config, 0) + ".") ? 0 : 1;
        quaff::LoraAdapter& adapter = adapters.emplace_back();
        adapter.module = part.name;
        values.push_back(some_values(3 * joint.in_features, 100 + layer));
        adapter.a = {values.back().data(), 3, joint.in_features};
        values.push_back(some_values(3 * part.out_features, 200 + layer));
        for (float& x : values.back()) x *= size;
        adapter.b = {values.back().data(), part.out_features, 3};
    });
    quaff::LoraConfig lora;
    lora.r = 3;
    lora.lora_alpha = 6;
    lora.base_model = model.string();
    quaff::write_adapter(adapter, lora, adapters);
}

}  // namespace test
