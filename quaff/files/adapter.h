// LoRA adapters in PEFT's own format, in and out: adapter_config.json and adapter_model.safetensors, with the tensors
//
//   base_model.model.<module>.lora_A.weight   A[r, in_features]      <module>: "model.layers.0.self_attn.q_proj"
//   base_model.model.<module>.lora_B.weight   B[out_features, r]
//
// and W x + scaling B A x in place of W x. PEFT 0.9 and later, vLLM and llama.cpp's converter load what is written
// here, in F32. PEFT's own adapters are read in F32, F16 or BF16. Which linears have an adapter is what the config says
// (lora.h), as in PEFT: tensors that it leaves out are not used, and tensors that it asks for must be there.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "quaff/files/adapter_config.h"
#include "quaff/files/lora.h"

namespace quaff {

using namespace llmc;

// PEFT's name of the file of tensors.
inline constexpr const char* kAdapterWeights = "adapter_model.safetensors";

// Writes both files, each atomically, adapter_config.json last: a directory that has it holds whole weights. Creates
// the directory where it is missing.
void write_adapter(const std::filesystem::path& directory, const LoraConfig& config,
                   std::span<const LoraAdapter> tensors);

// Throws Error when a model's directory also holds an adapter, configuration and weights. transformers would load both,
// so the user has to say which is meant.
void require_no_adapter_inside(const std::filesystem::path& model_directory);

// An adapter that fits a model: every name and shape agrees with the two configs, and every value is finite. Otherwise
// the constructor throws Error.
class Adapter {
  public:
    Adapter(const std::filesystem::path& directory, const ModelConfig& model);
    Adapter(Adapter&&) = default;
    Adapter& operator=(Adapter&&) = default;
    Adapter(const Adapter&) = delete;  // the tensors are views of values_

    const LoraConfig& config() const { return config_; }
    // In the order of the model's forward pass.
    const std::vector<LoraAdapter>& tensors() const { return tensors_; }
    // nullptr when the module is not adapted.
    const LoraAdapter* find(const std::string& module) const;
    // Sentences for the user about what was not used.
    const std::vector<std::string>& notes() const { return notes_; }

  private:
    LoraConfig config_;
    std::vector<float> values_;
    std::vector<LoraAdapter> tensors_;
    std::vector<std::string> notes_;
};

}  // namespace quaff
