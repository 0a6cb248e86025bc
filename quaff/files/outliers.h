// The outlier channels of a model: the few channels of each linear layer's input whose values calibration found too
// large for int8. They are listed by joint matrix, which in every architecture is self_attn.qkv_proj, self_attn.o_proj,
// mlp.gate_up_proj or mlp.down_proj. The file:
//
//   {"model": "smollm2", "strategy": "token_max", "threshold": 100,
//    "max_ratio": 0.02, "dataset": "gsm8k", "samples": 512,
//    "channels": {"model.layers.0.self_attn.qkv_proj": [17, 290], ..},
//    "max_abs":  {"model.layers.0.self_attn.qkv_proj": [31.5, 12.25], ..}}
//
// Every joint matrix of the model must have a list, empty when it has no outlier channel. max_abs, the largest |X| seen
// in each channel, may be missing as a whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "quaff/files/model_config.h"

namespace llmc {
class JsonObject;
}

namespace quaff {

using namespace llmc;

struct OutlierChannels {
    std::string model, strategy, dataset;
    double threshold = 0;
    std::string max_ratio;  // as written: a number, or a ratio per module
    int64_t samples = 0;
    std::map<std::string, std::vector<int32_t>> channels;  // joint module -> ascending, distinct
    std::map<std::string, std::vector<float>> max_abs;     // the same modules and lengths, or empty
};

// Of all layers together.
int64_t count_channels(const OutlierChannels& outliers);

// Throws Error, naming the layer, when the file is damaged or does not fit the model.
OutlierChannels read_outlier_channels(const std::filesystem::path& path, const ModelConfig& config);
// Writes the file atomically. Creates its folder where it is missing.
void write_outlier_channels(const std::filesystem::path& path, const OutlierChannels& outliers);

// The file's object. outliers_from_json throws Error when it does not fit the model.
nlohmann::ordered_json outliers_to_json(const OutlierChannels& outliers);
OutlierChannels outliers_from_json(const JsonObject& object, const ModelConfig& config);

// --outlier-max-ratio: which part of a layer's channels may be outliers. One number for all layers, "0.02", or numbers
// for joint modules and one for the rest, "down_proj=0.05,o_proj=0.02,0.003"; without the last, the rest has 0.02. The
// constructor throws UsageError.
class MaxRatio {
  public:
    explicit MaxRatio(const std::string& text);
    double of(const std::string& joint_module) const;  // "down_proj" or "model.layers.3.mlp.down_proj"
    const std::string& text() const { return text_; }

  private:
    std::string text_;
    std::map<std::string, double> named_;
    double rest_ = 0.02;
};

// --outlier-budget: "1%" or "0.01"; 0 for "", which is no budget. Throws UsageError.
double parse_outlier_budget(const std::string& text);

// The most outlier channels a layer may have, floor(in_features * ratio / 4) * 4: whole groups of four, so that rows of
// outlier values stay aligned. All of them with a ratio of 1.
int64_t max_outliers(int64_t in_features, double ratio);

}  // namespace quaff
