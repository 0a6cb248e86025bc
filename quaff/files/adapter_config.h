// adapter_config.json: a LoRA adapter's settings as PEFT writes them.
//
// A field that is on and would make the adapter compute something else than this program does is refused by name; so is
// one that nobody knows yet. What PEFT itself makes no use of when it loads an adapter is passed over.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "quaff/files/lora.h"

namespace quaff {

// PEFT's name of the file.
inline constexpr const char* kAdapterConfig = "adapter_config.json";

// Throws Error when the file is missing, or when it asks for a LoRA that is not supported.
LoraConfig read_lora_config(const std::filesystem::path& directory);

// Writes the file atomically. `tensors` are the adapters of the model: an empty config.target_modules becomes the list
// of their layers.
void write_lora_config(const std::filesystem::path& directory, const LoraConfig& config,
                       std::span<const LoraAdapter> tensors);

// What an error says after "is no adapter": "; did you mean DIR/adapter?" where there is one, as in a run's folder,
// else "".
std::string adapter_below(const std::filesystem::path& directory);

}  // namespace quaff
