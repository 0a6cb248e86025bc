// What differs from one layer of a model to the next: how far it sees, and whether RoPE turns its queries and keys.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "llmc/io/json.h"

namespace quaff {

using namespace llmc;

// The kinds of layers, in layer_types and in rope_parameters.
inline constexpr const char* kFullAttention = "full_attention";
inline constexpr const char* kSlidingAttention = "sliding_attention";

struct LayerConfig {
    int64_t sliding_window = 0;  // 0: none. Token i sees tokens i - sliding_window + 1 .. i
    bool has_rope = true;
    bool local_rope = false;  // RoPE is ModelConfig::local_rope
};

struct Family;
// One for each of `num_hidden_layers`. What the family does not follow is told in `notes`. Throws Error, naming the
// field, when a value cannot be true or is not supported.
std::vector<LayerConfig> read_layers(const JsonObject& config, const Family& family, int64_t num_hidden_layers,
                                     std::vector<std::string>& notes);

}  // namespace quaff
