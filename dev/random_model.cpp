// Makes a model directory of random weights, and data to match, for timing the shapes of real models without them.
//
//   build/random_model [--hollow] CONFIG_DIR OUT_DIR [sequences tokens]
//   ./train_quaff train --model OUT_DIR --data OUT_DIR/data.jsonl --eval-steps 0 --eval-split 0 --max-steps 10
//
// dev/configs/ has the configs of some models. Matrices are uniform with a standard deviation of 0.02, norms multiply
// by 1, biases are 0, all in BF16; data.jsonl has `sequences` lines (64 by default) of `tokens` random ids (512). The
// same config gives the same bytes. With --hollow all weights are zeros that take no room on the disk: enough for
// --plan, which reads shapes alone.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "llmc/core/dtype.h"
#include "llmc/core/error.h"
#include "llmc/core/philox.h"
#include "llmc/io/file_io.h"
#include "llmc/io/safetensors.h"
#include "quaff/files/model_config.h"

namespace {

namespace fs = std::filesystem;
using namespace llmc;

constexpr float kDeviation = 0.02f;

std::vector<TensorSpec> tensors_of(const quaff::ModelConfig& config) {
    std::vector<TensorSpec> specs;
    const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
        specs.push_back({name, "BF16", std::move(shape)});
    };
    const std::string decoder = config.decoder();
    add(decoder + ".embed_tokens.weight", {config.vocab_size, config.hidden_size});
    for (int64_t layer = 0; layer < config.num_hidden_layers; layer++) {
        const std::string owner = quaff::block_name(config, layer) + ".";
        for (const quaff::NormVector& norm : quaff::block_norms(config))
            add(owner + norm.name + ".weight", {norm.size});
        for (const quaff::JointLinear& joint : quaff::joint_linears(config)) {
            for (const quaff::LinearPart& part : joint.parts) {
                add(owner + part.name + ".weight", {part.out_features, joint.in_features});
                if (joint.bias) add(owner + part.name + ".bias", {part.out_features});
            }
        }
    }
    add(decoder + ".norm.weight", {config.hidden_size});
    if (!config.tie_word_embeddings) add("lm_head.weight", {config.vocab_size, config.hidden_size});
    return specs;
}

// Four uniform numbers in [-1, 1) at a time; `stream` tells the tensors apart.
void fill_uniform(std::vector<float>& values, uint32_t stream) {
    const auto groups = static_cast<int64_t>((values.size() + 3) / 4);
    values.resize(static_cast<size_t>(groups * 4));
#pragma omp parallel for schedule(static)
    for (int64_t g = 0; g < groups; g++) {
        const PhiloxWords words =
            philox4x32_10({static_cast<uint32_t>(g), static_cast<uint32_t>(g >> 32), 0, 0}, {stream, 0});
        const uint32_t bits[4] = {words.x0, words.x1, words.x2, words.x3};
        for (int k = 0; k < 4; k++) values[g * 4 + k] = static_cast<float>(static_cast<int32_t>(bits[k])) * 0x1p-31f;
    }
}

void write_weights(const fs::path& path, const quaff::ModelConfig& config, bool hollow) {
    const std::vector<TensorSpec> specs = tensors_of(config);
    SafetensorsWriter writer(path, specs);
    if (hollow) {
        writer.leave_zero();
        return writer.finish();
    }
    const float norm_weight = config.norms_add_one ? 0.0f : 1.0f;
    std::vector<float> values;
    std::vector<std::byte> rounded;
    for (size_t i = 0; i < specs.size(); i++) {
        const std::vector<int64_t>& shape = specs[i].shape;
        const bool matrix = shape.size() == 2;
        const int64_t size = matrix ? shape[0] * shape[1] : shape[0];
        values.assign(static_cast<size_t>(size), specs[i].name.ends_with(".bias") ? 0.0f : norm_weight);
        if (matrix) {
            fill_uniform(values, static_cast<uint32_t>(i));
            const float scale = kDeviation * 1.7320508f;  // the deviation of a uniform number is its bound / sqrt(3)
            for (float& value : values) value *= scale;
        }
        rounded.resize(static_cast<size_t>(2 * size));
        from_float(DType::bf16, values.data(), rounded.data(), size);
        writer.write(specs[i].name, rounded);
    }
    writer.finish();
}

std::string random_data(const quaff::ModelConfig& config, int64_t sequences, int64_t tokens) {
    std::string lines;
    std::vector<float> values(static_cast<size_t>(tokens));
    for (int64_t s = 0; s < sequences; s++) {
        values.resize(static_cast<size_t>(tokens));
        fill_uniform(values, 0x80000000u + static_cast<uint32_t>(s));
        lines += "{\"input_ids\": [";
        for (int64_t n = 0; n < tokens; n++) {
            const double share = 0.5 + 0.5 * static_cast<double>(values[static_cast<size_t>(n)]);
            const auto id = static_cast<int64_t>(share * static_cast<double>(config.vocab_size));
            lines += concat(n > 0 ? ", " : "", std::min(id, config.vocab_size - 1));
        }
        lines += "]}\n";
    }
    return lines;
}

int64_t count_of(const char* text) {
    char* end = nullptr;
    const long long value = std::strtoll(text, &end, 10);
    require(*end == '\0' && value > 0, "a count has to be a positive number, not '", text, "'");
    return value;
}

void make(const std::vector<const char*>& arguments, bool hollow) {
    const fs::path source = arguments[0], out = arguments[1];
    const bool counted = arguments.size() == 4;
    const int64_t sequences = counted ? count_of(arguments[2]) : 64, tokens = counted ? count_of(arguments[3]) : 512;
    require(!fs::exists(out), out.string(), ": is there already; remove it or choose another place");
    const quaff::ModelConfig config = quaff::read_model_config(source);
    fs::create_directories(out);
    write_file_atomically(out / "config.json", read_file(source / "config.json"));
    write_weights(out / "model.safetensors", config, hollow);
    write_file_atomically(out / "data.jsonl", random_data(config, sequences, tokens));
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<const char*> arguments(argv + 1, argv + argc);
    const bool hollow = std::erase_if(arguments, [](const char* text) { return std::string_view(text) == "--hollow"; });
    if (arguments.size() != 2 && arguments.size() != 4) {
        std::fprintf(stderr, "usage: %s [--hollow] CONFIG_DIR OUT_DIR [sequences tokens]\n", argv[0]);
        return 2;
    }
    try {
        make(arguments, hollow);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 1;
    }
}
