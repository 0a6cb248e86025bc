// The model card of an adapter, README.md as the Hugging Face hub shows it: YAML for machines, then what the adapter
// was trained on, with which options, what that changed, and how to use it. Of files and folders it tells the names
// alone.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "quaff/files/lora.h"
#include "quaff/run/options.h"
#include "quaff/run/training/training_state.h"

namespace quaff {

inline constexpr const char* kModelCard = "README.md";

// `changed`: RunRecord::changed. `eval_after`: as state.eval_before, after training; each may be null. `best_step`: the
// step whose weights are kept, if it is not the last.
std::string model_card(const Options& options, const OptionTexts& changed, const LoraConfig& lora,
                       const TrainingState& state, const nlohmann::ordered_json& eval_after, int64_t best_step = -1);

// What README.md of an adapter that replaces the one in `adapter` is to hold: `card`, unless somebody has written one
// of their own there, which stays.
std::string card_to_keep(const std::filesystem::path& adapter, const std::string& card);

}  // namespace quaff
