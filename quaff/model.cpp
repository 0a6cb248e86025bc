#include "quaff/model.h"

#include "quaff/model_passes.h"
#include "quaff/model_setup.h"

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
    const int64_t c = config.hidden_size, f = config.intermediate_size, q = config.q_size(), kv = config.kv_size();
    std::vector<LinearPart> qkv = {{"self_attn.q_proj", q}, {"self_attn.k_proj", kv}, {"self_attn.v_proj", kv}};
    std::vector<LinearPart> gate_up = {{"mlp.gate_proj", f}, {"mlp.up_proj", f}};
    if (config.fused()) {
        qkv = {{"self_attn.qkv_proj", q + 2 * kv}};
        gate_up = {{"mlp.gate_up_proj", 2 * f}};
    }
    return {{"self_attn.qkv_proj", c, qkv, config.attention_bias},
            {"self_attn.o_proj", q, {{"self_attn.o_proj", c}}, config.attention_bias},
            {"mlp.gate_up_proj", c, gate_up, config.mlp_bias},
            {"mlp.down_proj", f, {{"mlp.down_proj", c}}, config.mlp_bias}};
}

template class Block<cpu::Device>;
template class Model<cpu::Device>;
template class Generator<cpu::Device>;

}  // namespace quaff
