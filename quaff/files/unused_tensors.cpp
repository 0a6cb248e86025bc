#include "quaff/files/unused_tensors.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <vector>

#include "llmc/core/error.h"
#include "quaff/files/model_files.h"

namespace quaff {

namespace {

// As the files name them.
std::set<std::string> known_tensors(const ModelConfig& config, const TensorNames& names) {
    std::set<std::string> known;
    const auto add = [&](const std::string& name) { known.insert(names.in_files(name)); };
    for (const char* name : {kEmbedding, kHead, kLastNorm}) add(name);
    for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
        for (const NormVector& norm : block_norms(config))
            add(concat(block_name(config, layer), ".", norm.name, ".weight"));
    }
    for_each_linear(config, [&](const JointLinear& joint, const LinearPart& part) {
        add(part.name + ".weight");
        if (joint.bias) add(part.name + ".bias");
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

std::string unused_tensors(const ModelConfig& config, const TensorNames& names,
                           std::span<const SafetensorsFile> shards) {
    const std::set<std::string> known = known_tensors(config, names);
    std::string list;
    int64_t count = 0;
    for (const SafetensorsFile& file : shards) {
        for (const auto& [name, tensor] : file.tensors()) {
            if (known.contains(name) || name.find("rotary_emb.") != name.npos) continue;
            const bool in_model = !names.from_files(name).empty();
            require(!in_model || is_neutral(file, name, tensor), file.path().string(), ": tensor ", name,
                    " has no place in a ", name_of(config.architecture),
                    " model, and without it the model computes something else; ", advice(name));
            if (count++ < 3) list += concat(count > 1 ? ", " : "", name);
        }
    }
    if (count == 0) return "";
    if (count > 3) list += concat(" and ", count - 3, " more");
    return concat(shards[0].path().parent_path().string(), ": the weights hold tensors that a ",
                  name_of(config.architecture), " model has no place for, which are not used: ", list);
}

}  // namespace quaff
