// LoRA adapters in PEFT's own format, in and out: adapter_config.json and adapter_model.safetensors, with the tensors
//
//   base_model.model.<module>.lora_A.weight   A[r, in_features]      <module>: "model.layers.0.self_attn.q_proj"
//   base_model.model.<module>.lora_B.weight   B[out_features, r]
//
// and W x + scaling B A x in place of W x. PEFT 0.9 and later, vLLM and llama.cpp's converter load what is written
// here. What PEFT writes is read in F32, F16 or BF16; every variant of LoRA that computes something else is refused by
// name.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "quaff/files/lora.h"

namespace quaff {

using namespace llmc;

// Both files, atomically each. config.target_modules is not used: the list written is that of the tensors' layers.
void write_adapter(const std::filesystem::path& directory, const LoraConfig& config,
                   std::span<const LoraAdapter> tensors);

// adapter_config.json alone.
LoraConfig read_lora_config(const std::filesystem::path& directory);

// What to add to a complaint that a folder is no adapter: "; did you mean DIR/adapter?" where there is one, as in a
// run's folder, else nothing.
std::string adapter_below(const std::filesystem::path& directory);

// An adapter that fits a model: every name and shape is checked against its config, every value is finite, and all
// layers adapt the same set of linear layers.
class Adapter {
  public:
    Adapter(const std::filesystem::path& directory, const ModelConfig& model);
    Adapter(Adapter&&) = default;
    Adapter& operator=(Adapter&&) = default;
    Adapter(const Adapter&) = delete;  // the tensors are views into values_

    const LoraConfig& config() const { return config_; }
    // In the order of the model's forward pass.
    const std::vector<LoraAdapter>& tensors() const { return tensors_; }
    // nullptr when the module is not adapted.
    const LoraAdapter* find(const std::string& module) const;

  private:
    LoraConfig config_;
    std::vector<float> values_;
    std::vector<LoraAdapter> tensors_;
};

}  // namespace quaff
