#include "quaff/files/unused_tensors.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <vector>

#include "llmc/core/error.h"
#include "quaff/files/model_files.h"

namespace quaff {

namespace {

std::set<std::string> known_tensors(const ModelConfig& config) {
    std::set<std::string> known = {kEmbedding, kHead, kLastNorm};
    for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
        for (const NormVector& norm : block_norms(config))
            known.insert(concat(block_name(layer), ".", norm.name, ".weight"));
    }
    for_each_linear(config, [&](const JointLinear& joint, const LinearPart& part) {
        known.insert(part.name + ".weight");
        if (joint.bias) known.insert(part.name + ".bias");
    });
    return known;
}

bool is_scale(std::string_view name) {
    return name.ends_with("_scale") || name.ends_with("_scale_inv");
}

// Whether adding the tensor (a bias) or multiplying by it (a scale) changes nothing.
bool is_neutral(const SafetensorsFile& file, const std::string& name, const SafeTensor& tensor) {
    const bool bias = name.ends_with(".bias");
    const bool floats = tensor.dtype == "F32" || tensor.dtype == "F16" || tensor.dtype == "BF16";
    if ((!bias && !is_scale(name)) || !floats) return false;
    constexpr int64_t kAtOnce = 1 << 16;
    std::vector<float> values;
    for (int64_t first = 0; first < tensor.size(); first += kAtOnce) {
        values.resize(static_cast<size_t>(std::min(kAtOnce, tensor.size() - first)));
        file.read_part(name, first, values);
        if (std::ranges::any_of(values, [&](float value) { return value != (bias ? 0.0f : 1.0f); })) return false;
    }
    return true;
}

// What a person does about a tensor that would be missed.
const char* advice(const std::string& name) {
    if (is_scale(name) || name.ends_with(".qweight"))
        return "these are the weights of a quantized model; use the original one in F32, F16 or BF16";
    if (name.ends_with(".bias")) return "does config.json lack attention_bias or mlp_bias, or name another model_type?";
    return "config.json should name another model_type";
}

}  // namespace

std::string unused_tensors(const ModelConfig& config, std::span<const SafetensorsFile> shards) {
    const std::set<std::string> known = known_tensors(config);
    std::string names;
    int64_t count = 0;
    for (const SafetensorsFile& file : shards) {
        for (const auto& [name, tensor] : file.tensors()) {
            if (known.contains(name) || name.find("rotary_emb.") != name.npos) continue;
            const bool in_model = name.starts_with("model.") || name.starts_with("lm_head.");
            require(!in_model || is_neutral(file, name, tensor), file.path().string(), ": tensor ", name,
                    " has no place in a ", name_of(config.architecture),
                    " model, and without it the model computes something else; ", advice(name));
            if (count++ < 3) names += concat(count > 1 ? ", " : "", name);
        }
    }
    if (count == 0) return "";
    if (count > 3) names += concat(" and ", count - 3, " more");
    return concat(shards[0].path().parent_path().string(), ": the weights hold tensors that a ",
                  name_of(config.architecture), " model has no place for, which are not used: ", names);
}

}  // namespace quaff
