// state.safetensors of a checkpoint: AdamW's m and v of every adapter matrix, and s of every layer that has one. The
// adapters themselves are written and read as PEFT files (adapter.h).
#pragma once

#include <filesystem>

#include "quaff/model/model.h"

namespace quaff {

template <class Device>
void write_moments(const std::filesystem::path& folder, Model<Device>& model);

// Throws Error if the file does not fit the model.
template <class Device>
void read_moments(const std::filesystem::path& folder, Model<Device>& model);

}  // namespace quaff
