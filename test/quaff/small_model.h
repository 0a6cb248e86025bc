// A Hugging Face model directory small enough for a test to write: a LLaMA of two layers with random weights.
#pragma once

#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "llmc/io/safetensors.h"
#include "test/files.h"

namespace small {

inline constexpr int kVocabulary = 48, kHidden = 32, kIntermediate = 64, kLayers = 2, kHeads = 4, kKeyValueHeads = 2,
                     kHeadDim = 8;

using test::fresh_folder;
using test::write_text;

inline std::string read_text(const std::filesystem::path& path) {
    return test::read(path);
}

inline void write_model(const std::filesystem::path& folder) {
    std::filesystem::create_directories(folder);
    write_text(folder / "config.json",
               "{\"model_type\": \"llama\", \"architectures\": [\"LlamaForCausalLM\"], \"vocab_size\": 48, "
               "\"hidden_size\": 32, \"intermediate_size\": 64, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, "
               "\"num_key_value_heads\": 2, \"head_dim\": 8, \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-5, "
               "\"rope_theta\": 10000.0, \"tie_word_embeddings\": false, \"hidden_act\": \"silu\", "
               "\"bos_token_id\": 1, \"eos_token_id\": 2}");
    std::vector<llmc::TensorSpec> specs = {{"model.embed_tokens.weight", "F32", {kVocabulary, kHidden}},
                                           {"model.norm.weight", "F32", {kHidden}},
                                           {"lm_head.weight", "F32", {kVocabulary, kHidden}}};
    for (int layer = 0; layer < kLayers; ++layer) {
        const std::string block = "model.layers." + std::to_string(layer) + ".";
        specs.push_back({block + "input_layernorm.weight", "F32", {kHidden}});
        specs.push_back({block + "post_attention_layernorm.weight", "F32", {kHidden}});
        specs.push_back({block + "self_attn.q_proj.weight", "F32", {kHeads * kHeadDim, kHidden}});
        specs.push_back({block + "self_attn.k_proj.weight", "F32", {kKeyValueHeads * kHeadDim, kHidden}});
        specs.push_back({block + "self_attn.v_proj.weight", "F32", {kKeyValueHeads * kHeadDim, kHidden}});
        specs.push_back({block + "self_attn.o_proj.weight", "F32", {kHidden, kHeads * kHeadDim}});
        specs.push_back({block + "mlp.gate_proj.weight", "F32", {kIntermediate, kHidden}});
        specs.push_back({block + "mlp.up_proj.weight", "F32", {kIntermediate, kHidden}});
        specs.push_back({block + "mlp.down_proj.weight", "F32", {kHidden, kIntermediate}});
    }
    std::mt19937 random(1);
    llmc::SafetensorsWriter writer(folder / "model.safetensors", specs);
    for (const llmc::TensorSpec& spec : specs) {
        int64_t size = 1;
        for (const int64_t n : spec.shape) size *= n;
        std::vector<float> values(static_cast<size_t>(size));
        const bool norm = spec.shape.size() == 1;
        for (float& value : values) value = norm ? 1.0f : static_cast<float>(random() % 2001) / 1000.0f * 0.25f - 0.25f;
        writer.write(spec.name, std::span<const float>(values));
    }
    writer.finish();
}

// `count` examples of tokens, 3 to 12 long, whose second half is labelled.
inline void write_examples(const std::filesystem::path& path, int count, unsigned seed) {
    std::mt19937 random(seed);
    std::string text;
    for (int i = 0; i < count; ++i) {
        const int length = 3 + static_cast<int>(random() % 10);
        std::string ids, labels;
        for (int n = 0; n < length; ++n) {
            const std::string id = std::to_string(random() % kVocabulary);
            ids += (n ? ", " : "") + id;
            labels += (n ? ", " : "") + (n < length / 2 ? std::string("-100") : id);
        }
        text += "{\"input_ids\": [" + ids + "], \"labels\": [" + labels + "]}\n";
    }
    write_text(path, text);
}

}  // namespace small
