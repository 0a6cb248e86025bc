// What config.json says about the rotary position embedding: channel pair i of a head is turned by
// position * inv_freq[i], with inv_freq[i] = theta^(-2i / d), d the channels of a head that turn, changed by the type:
//
//   linear     / factor
//   llama3     / factor for wavelengths above original_max_position_embeddings / low_freq_factor, unchanged below
//              original_max_position_embeddings / high_freq_factor, blended in between
//   yarn       / factor for pairs that turn less than beta_slow times over the original length, unchanged for those
//              that turn more than beta_fast times, blended in between (rope_table.h)
//   longrope   / long_factor[i] in sequences longer than original_max_position_embeddings, / short_factor[i] in others
#pragma once

#include <cstdint>
#include <vector>

#include "llmc/io/json.h"

namespace quaff {

using namespace llmc;

struct RopeConfig {
    enum class Type { standard, linear, llama3, yarn, longrope };
    Type type = Type::standard;
    double theta = 10000;
    double partial_rotary_factor = 1;
    double factor = 1;
    double low_freq_factor = 1;
    double high_freq_factor = 1;
    double beta_fast = 32, beta_slow = 1;
    bool truncate = true;  // yarn: the pairs where the blend begins and ends are rounded to whole ones
    int64_t original_max_position_embeddings = 0;
    std::vector<double> short_factor, long_factor;  // [d / 2], longrope only
    double attention_factor = 1;                    // multiplies cos and sin
};

// "default", "linear", ..
const char* name_of(RopeConfig::Type type);

struct ModelConfig;
// Of a model whose heads, positions and architecture are known; of its layers without a window, where those with one
// have a RoPE of their own. Throws Error, naming the field, when a value cannot be true or is not supported.
RopeConfig read_rope(const JsonObject& config, const ModelConfig& model);
// Of the layers with LayerConfig::local_rope: another theta, and nothing else.
RopeConfig read_local_rope(const JsonObject& config, const ModelConfig& model);

}  // namespace quaff
