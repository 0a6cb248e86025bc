#include "quaff/model/model.h"

#include "llmc/cpu/operators.h"
#include "quaff/model/model_passes.h"
#include "quaff/model/model_setup.h"

namespace quaff {

const char* name_of(Method method) {
    return method == Method::quaff ? "quaff" : "fp";
}

bool LoraOptions::targets(const std::string& module) const {
    if (target_modules.empty()) return true;
    for (const std::string& target : target_modules) {
        if (module == target) return true;
        if (module.size() > target.size() && module.ends_with(target) &&
            module[module.size() - target.size() - 1] == '.')
            return true;
    }
    return false;
}

float LoraOptions::scale() const {
    return alpha / (rslora ? std::sqrt(static_cast<float>(r)) : static_cast<float>(r));
}

std::vector<LinearSpec> linear_specs(const ModelConfig& config) {
    std::vector<LinearSpec> specs;
    for (const LinearLayer& layer : linear_layers(config)) {
        const bool bias = layer.name.starts_with("self_attn") ? config.attention_bias : config.mlp_bias;
        if (specs.empty() || specs.back().module != layer.joint)
            specs.push_back({layer.joint, layer.in_features, {}, bias});
        specs.back().parts.push_back({layer.name, layer.out_features});
    }
    return specs;
}

void require_known_targets(const std::vector<std::string>& targets, const ModelConfig& config) {
    const std::vector<LinearSpec> specs = linear_specs(config);
    for (const std::string& target : targets) {
        std::string names;
        bool known = false;
        for (const LinearSpec& spec : specs) {
            for (const LinearPart& part : spec.parts) {
                const std::string last = part.module.substr(part.module.find('.') + 1);
                known = known || target == last || target == part.module;
                names += concat(names.empty() ? "" : ", ", last);
            }
        }
        if (!known)
            throw UsageError(concat("--target-modules: this model has no linear layer ", target, "; it has ", names,
                                    " (or all-linear)"));
    }
}

template class Block<cpu::Device>;
template class Model<cpu::Device>;
template class Generator<cpu::Device>;

}  // namespace quaff
