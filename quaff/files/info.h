// `train_quaff info PATH`: what a model, an adapter, a checkpoint or an outlier file holds, read from the headers
// alone.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace quaff {

enum class Kind { model, adapter, checkpoint, outliers };

// Throws when the path is none of them.
Kind kind_of(const std::filesystem::path& path);

// {"kind": "model" | "adapter" | "checkpoint" | "outliers", "path", ..}. Throws when the path is none of them, or is
// damaged.
nlohmann::ordered_json inspect(const std::filesystem::path& path);

// The same for a person: one field a line.
std::string info_text(const nlohmann::ordered_json& info);

}  // namespace quaff
