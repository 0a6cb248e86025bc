#include "quaff/files/lora.h"

#include <algorithm>
#include <cmath>

#include "llmc/core/error.h"

namespace quaff {

namespace {

// "q_proj" or "self_attn.q_proj" for "model.layers.0.self_attn.q_proj".
bool is_end(const std::string& name, const std::string& module) {
    return module.size() > name.size() && module.ends_with(name) && module[module.size() - name.size() - 1] == '.';
}

// The first "<list>.<index>." in a module's name, as PEFT looks for a layer where layers_pattern does not say.
std::optional<int64_t> layer_of(const std::string& module) {
    static const ModulePattern any = ModulePattern::layers("[^.]*", "layers_pattern");
    return any.layer_of(module);
}

bool is_in_layers(const LoraConfig& lora, const std::string& module) {
    std::optional<int64_t> layer;
    if (lora.layers_pattern.empty()) layer = layer_of(module);
    for (const ModulePattern& pattern : lora.layers_pattern) {
        if (pattern.matches(module)) {
            layer = pattern.layer_of(module);
            break;
        }
    }
    return layer && std::ranges::find(lora.layers_to_transform, *layer) != lora.layers_to_transform.end();
}

template <class Value>
Value first_match(const std::vector<PatternValue<Value>>& patterns, const std::string& module, Value otherwise) {
    for (const PatternValue<Value>& entry : patterns) {
        if (entry.pattern.matches(module)) return entry.value;
    }
    return otherwise;
}

// The modules of a model that are no linears of its blocks.
std::vector<std::string> other_modules(const ModelConfig& model) {
    const std::string decoder = model.decoder();
    std::vector<std::string> names = {"lm_head", decoder};
    for (const char* part : {".embed_tokens", ".layers", ".norm", ".rotary_emb"}) names.push_back(decoder + part);
    for (int64_t layer = 0; layer < model.num_hidden_layers; ++layer) {
        const std::string block = block_name(model, layer);
        names.push_back(block);
        for (const char* part : {".self_attn", ".mlp"}) names.push_back(block + part);
        for (const NormVector& norm : block_norms(model)) names.push_back(block + "." + norm.name);
        names.push_back(block + (model.fused() ? ".mlp.activation_fn" : ".mlp.act_fn"));
        if (!model.fused()) continue;
        for (const char* part : {".resid_attn_dropout", ".resid_mlp_dropout"}) names.push_back(block + part);
    }
    return names;
}

// "q_proj, k_proj, ..."
std::string linear_names(const ModelConfig& model) {
    std::string names;
    for (const JointLinear& joint : joint_linears(model)) {
        for (const LinearPart& part : joint.parts)
            names += concat(names.empty() ? "" : ", ", part.name.substr(part.name.find('.') + 1));
    }
    return names;
}

}  // namespace

bool ModuleNames::has_whole(const std::string& module) const {
    return std::ranges::find(list_, module) != list_.end();
}

bool ModuleNames::match(const std::string& module) const {
    if (expression_) return expression_->matches(module);
    return std::ranges::any_of(list_, [&](const std::string& name) { return name == module || is_end(name, module); });
}

void leave_out_other_towers(LoraConfig& lora, const ModelConfig& model) {
    if (!model.multimodal()) return;
    lora.exclude_modules =
        ModuleNames(ModulePattern::whole(".*(vision_tower|multi_modal_projector).*", "exclude_modules"));
}

bool LoraConfig::targets(const std::string& module) const {
    if (exclude_modules.match(module)) return false;
    if (target_modules.empty()) return true;
    if (target_modules.has_whole(module)) return true;
    return target_modules.match(module) && (layers_to_transform.empty() || is_in_layers(*this, module));
}

int64_t LoraConfig::rank(const std::string& module) const {
    return first_match(rank_pattern, module, r);
}

double LoraConfig::scaling(const std::string& module) const {
    const auto of = static_cast<double>(rank(module));
    return first_match(alpha_pattern, module, lora_alpha) / (use_rslora ? std::sqrt(of) : of);
}

void require_linear_targets(const LoraConfig& lora, const ModelConfig& model, const std::string& where) {
    bool any = false;
    for_each_linear(model, [&](const JointLinear&, const LinearPart& part) { any = any || lora.targets(part.name); });
    require(any, where, " and what restricts it leave no linear layer of this model; its blocks have ",
            linear_names(model), " (or all-linear)");
    if (lora.target_modules.empty()) return;
    for (const std::string& module : other_modules(model)) {
        require(!lora.targets(module), where, " also matches ", module, ", which takes no adapter here; name ",
                linear_names(model), ", or some of them, alone");
    }
}

void require_known_targets(const std::vector<std::string>& names, const ModelConfig& model, const std::string& where) {
    for (const std::string& name : names) {
        const ModuleNames alone(std::vector{name});
        bool known = false;
        for_each_linear(model,
                        [&](const JointLinear&, const LinearPart& part) { known = known || alone.match(part.name); });
        require(known, where, ": this model has no linear layer ", name, "; it has ", linear_names(model),
                " (or all-linear)");
    }
}

}  // namespace quaff
