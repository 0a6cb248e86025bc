// LoRA adapters in PEFT's words: the settings that a model's adapters share, and the matrices of one of them.
//
//   W x + scaling B A x   in place of   W x
//
// Hu et al. 2021, arXiv 2106.09685.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "llmc/core/tensor.h"
#include "quaff/files/model_config.h"

namespace quaff {

using namespace llmc;

struct LoraConfig {
    int64_t r = 16;
    double lora_alpha = 16;
    double lora_dropout = 0.1;
    bool use_rslora = false;
    // "q_proj", ...; empty: every linear of the blocks. An adapter's file may have a pattern here; then its tensors
    // decide.
    std::vector<std::string> target_modules;
    std::string base_model;  // the model that the adapter was trained on, for the record

    double scaling() const;  // lora_alpha / r, or lora_alpha / sqrt(r) with use_rslora
    // Whether "self_attn.q_proj" (or any longer name that ends so) gets an adapter.
    bool targets(const std::string& module) const;
};

// The adapter of one linear, under the name PEFT gives it. Its matrices are views: whoever hands it out owns the
// values.
struct LoraAdapter {
    std::string module;  // "model.layers.0.self_attn.q_proj"
    Matrix<float> a;     // [r, in_features]
    Matrix<float> b;     // [out_features, r]
    // In a model alone:
    Matrix<float> da, db;   // gradients, empty unless it trains
    int64_t out_begin = 0;  // first output of the joint linear that it writes
};

// Throws UsageError unless every target is a linear of the blocks, by its last name or by the longer one within a
// block. A single layer's cannot be named: PEFT's format has one list for all layers.
void require_known_targets(const std::vector<std::string>& targets, const ModelConfig& config);

}  // namespace quaff
