// quaff.json, beside an adapter's two files: how the frozen layers were computed while the adapter was trained, so that
// it is evaluated and used in the same way. PEFT and others ignore the file.
//
//   {"method": "quaff", "rotation": true, "outlier_term": "scaled", "scale_momentum": 0.1, "grad_bits": 8,
//    "scale_strength": 0.5, "int8_threshold": 6, "smooth_alpha": 0.5,
//    "outliers": {an outlier file's object}, "scales": {"model.layers.0.self_attn.qkv_proj": [1.25, ..], ..},
//    "chat": {how texts are laid out}}
//
// `scales` holds s of every outlier channel after the last training step. Methods without outlier channels have neither
// "outliers" nor "scales", and "split" outlier channels have no scales. A file without "rotation" and "outlier_term"
// was written before there was a choice: its layers are not rotated and their outlier channels are scaled. A
// "scale_strength" that is missing is the paper's 0.5. Only llm-int8 has an "int8_threshold", and smooth-static and
// smooth-dynamic a "smooth_alpha". chat_settings.h has the object under "chat".
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "quaff/files/chat_settings.h"
#include "quaff/files/method.h"
#include "quaff/files/outliers.h"

namespace quaff {

inline constexpr const char* kQuaffJson = "quaff.json";

struct QuaffState : MethodChoices {
    std::string method;
    double scale_momentum = 0.1;
    int64_t grad_bits = 8;
    std::optional<OutlierChannels> outliers;
    std::map<std::string, std::vector<float>> scales;  // joint module -> one per outlier channel; or empty
    std::optional<ChatSettings> chat;                  // nothing: not known
};

// Writes the file atomically. Creates the directory where it is missing.
void write_quaff_state(const std::filesystem::path& adapter_directory, const QuaffState& state);

// std::nullopt when the directory has no quaff.json: an adapter from elsewhere. Throws Error when the file is damaged
// or does not fit the model.
std::optional<QuaffState> read_quaff_state(const std::filesystem::path& adapter_directory, const ModelConfig& model);

}  // namespace quaff
