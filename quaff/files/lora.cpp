#include "quaff/files/lora.h"

#include <cmath>

#include "llmc/core/error.h"

namespace quaff {

double LoraConfig::scaling() const {
    return lora_alpha / (use_rslora ? std::sqrt(static_cast<double>(r)) : static_cast<double>(r));
}

bool LoraConfig::targets(const std::string& module) const {
    if (target_modules.empty()) return true;
    for (const std::string& target : target_modules) {
        if (module == target) return true;
        if (module.size() > target.size() && module.ends_with(target) &&
            module[module.size() - target.size() - 1] == '.')
            return true;
    }
    return false;
}

void require_known_targets(const std::vector<std::string>& targets, const ModelConfig& config) {
    for (const std::string& target : targets) {
        std::string names;
        bool known = false;
        for (const JointLinear& joint : joint_linears(config)) {
            for (const LinearPart& part : joint.parts) {
                const std::string last = part.name.substr(part.name.find('.') + 1);
                known = known || target == last || target == part.name;
                names += concat(names.empty() ? "" : ", ", last);
            }
        }
        if (!known)
            throw UsageError(concat("--target-modules: this model has no linear layer ", target, "; it has ", names,
                                    " (or all-linear)"));
    }
}

}  // namespace quaff
