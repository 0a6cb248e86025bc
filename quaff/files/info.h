// What a model, an adapter, a checkpoint or an outlier file holds. Reads headers and JSON files, no tensor.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace quaff {

enum class Kind { model, adapter, checkpoint, outliers };

// A folder that holds a model and an adapter is a model. Throws Error when the path is none of them.
Kind kind_of(const std::filesystem::path& path);

// {"kind": "model" | "adapter" | "checkpoint" | "outliers", "path": .., ..}. Throws Error when the path is none of
// them, or is damaged.
// A model's folder that also holds an adapter has it under "adapter".
nlohmann::ordered_json inspect(const std::filesystem::path& path);

// The same for a person, one field a line.
std::string info_text(const nlohmann::ordered_json& info);

}  // namespace quaff
