// The model of every harness that needs one: its config.json, and the smallest valid file of weights.
#pragma once

#include <string_view>

namespace fuzz {

inline constexpr std::string_view kTinyConfig =
    R"({"model_type": "llama", "vocab_size": 11, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": 2})";

inline constexpr std::string_view kEmptySafetensors{"\x02\0\0\0\0\0\0\0{}", 10};

}  // namespace fuzz
