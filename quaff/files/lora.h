// LoRA adapters in PEFT's words: the settings that a model's adapters share, and the matrices of one of them.
//
//   W x + scaling B A x   in place of   W x
//
// Which linears have an adapter, and with what rank and scaling, is decided as PEFT decides it, by the module's name.
// Hu et al. 2021, arXiv 2106.09685.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "llmc/core/tensor.h"
#include "quaff/files/model_config.h"
#include "quaff/files/module_pattern.h"

namespace quaff {

using namespace llmc;

// target_modules or exclude_modules: names of modules, whole or their ends from a dot on, or one regular expression.
class ModuleNames {
  public:
    ModuleNames() = default;  // none
    ModuleNames(std::vector<std::string> list) : list_(std::move(list)) {}
    ModuleNames(std::initializer_list<std::string> list) : list_(list) {}
    explicit ModuleNames(ModulePattern expression) : expression_(std::move(expression)) {}

    bool empty() const { return list_.empty() && !expression_; }
    const std::vector<std::string>& list() const { return list_; }
    const std::optional<ModulePattern>& expression() const { return expression_; }

    bool has_whole(const std::string& module) const;  // the list names it in full
    bool match(const std::string& module) const;

  private:
    std::vector<std::string> list_;
    std::optional<ModulePattern> expression_;
};

// An entry of rank_pattern or alpha_pattern.
template <class Value>
struct PatternValue {
    ModulePattern pattern;  // ModulePattern::end
    Value value;
};

struct LoraConfig {
    int64_t r = 16;
    double lora_alpha = 16;
    double lora_dropout = 0.1;
    bool use_rslora = false;
    ModuleNames target_modules;   // empty: every linear of the blocks
    ModuleNames exclude_modules;  // before target_modules
    // Empty: all layers. Those that target_modules lists by their whole name need not be among them.
    std::vector<int64_t> layers_to_transform;
    std::vector<ModulePattern> layers_pattern;        // ModulePattern::layers; empty: any list of layers
    std::vector<PatternValue<int64_t>> rank_pattern;  // in place of r: the first that matches
    std::vector<PatternValue<double>> alpha_pattern;  // in place of lora_alpha
    std::string base_model;                           // the model that the adapter was trained on, for the record

    // Of one module, by its whole name: "model.layers.0.self_attn.q_proj".
    bool targets(const std::string& module) const;
    int64_t rank(const std::string& module) const;
    double scaling(const std::string& module) const;  // alpha / rank, or alpha / sqrt(rank) with use_rslora
};

// In a multimodal model, PEFT would find names of target_modules outside the language model as well: excludes them.
void leave_out_other_towers(LoraConfig& lora, const ModelConfig& model);

// The adapter of one linear, under the name PEFT gives it. Its matrices are views: whoever hands it out owns the
// values.
struct LoraAdapter {
    std::string module;  // "model.layers.0.self_attn.q_proj"
    Matrix<float> a;     // [r, in_features]
    Matrix<float> b;     // [out_features, r]
    float scaling = 1;
    // In a model alone:
    Matrix<float> da, db;   // gradients, empty unless it trains
    int64_t out_begin = 0;  // first output of the joint linear that it writes
};

// Throws Error, which begins with `where`, unless the config targets a linear of the blocks and no module of another
// kind, for which PEFT refuses it, too.
void require_linear_targets(const LoraConfig& lora, const ModelConfig& model, const std::string& where);
// Throws Error, which begins with `where`, unless each name of the list is that of a linear of the blocks.
void require_known_targets(const std::vector<std::string>& names, const ModelConfig& model, const std::string& where);

}  // namespace quaff
