// Golden results of test/data/golden, made by dev/reference, and what compares the C++ with them.
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "llmc/data/batch.h"
#include "llmc/io/json.h"
#include "llmc/io/safetensors.h"
#include "quaff/files/adapter.h"
#include "quaff/model/generator.h"
#include "quaff/quaff.h"

namespace golden {

using namespace llmc;
using nlohmann::json;
using quaff::BuildOptions;
using quaff::Method;
using quaff::ModelFiles;
using Model = quaff::Model<cpu::Device>;

inline std::filesystem::path directory(const std::string& name) {
    return std::filesystem::path("test/data/golden") / name;
}

// Every model of dev/reference/tiny_models.py.
inline const char* const kModels[] = {
    "llama_gqa", "llama_tied_llama3", "llama_mqa_linear", "llama_head_dim", "mistral_window",
    "phi3",      "phi3_longrope",     "phi4_mini",        "qwen2",          "qwen2_yarn",
    "qwen3",     "smollm3",           "granite",          "olmo2",          "gemma2",
    "gemma3"};
// Those that quaff_reference.py computes the published method for.
inline const char* const kQuaffModels[] = {"llama_gqa", "llama_tied_llama3", "phi3",  "qwen2",  "qwen3",
                                           "smollm3",   "granite",           "olmo2", "gemma2", "gemma3"};

// Models this small are slower on two threads than on one.
inline cpu::Device one_thread() {
    cpu::Device device;
    device.threads = 1;
    return device;
}

// The same with --dtype bf16.
inline cpu::Device one_thread_in_bf16() {
    cpu::Device device = one_thread();
    device.products = cpu::Products::bf16;
    return device;
}

inline std::vector<float> read_tensor(const SafetensorsFile& file, const std::string& name) {
    std::vector<float> values(file.tensor(name).size());
    file.read(name, values);
    return values;
}

// The largest difference, relative to the largest value expected. NaN and different lengths are infinitely far apart.
inline double distance(std::span<const float> actual, std::span<const float> expected) {
    if (actual.size() != expected.size()) return INFINITY;
    double largest = 0, difference = 0;
    for (size_t i = 0; i < expected.size(); i++) {
        if (!std::isfinite(actual[i])) return INFINITY;
        largest = std::max<double>(largest, std::abs(expected[i]));
        difference = std::max<double>(difference, std::abs(actual[i] - expected[i]));
    }
    return largest > 0 ? difference / largest : difference;
}

inline double distance(std::span<const float> actual, const SafetensorsFile& file, const std::string& name) {
    return distance(actual, read_tensor(file, name));
}

inline std::span<const float> values(const Matrix<float>& matrix) {
    return {matrix.data, static_cast<size_t>(matrix.size())};
}

// The sequences of `batch` that `order` names, packed; all of them in their own order if it is empty.
inline Batch make_batch(const json& batch, std::vector<size_t> order = {}) {
    const std::vector<int32_t> ids = batch["input_ids"], labels = batch["labels"], cu_seqlens = batch["cu_seqlens"];
    std::vector<Example> examples(cu_seqlens.size() - 1);
    std::vector<const Example*> pointers;
    for (size_t s = 0; s < examples.size(); s++) {
        examples[s].input_ids.assign(ids.begin() + cu_seqlens[s], ids.begin() + cu_seqlens[s + 1]);
        examples[s].labels.assign(labels.begin() + cu_seqlens[s], labels.begin() + cu_seqlens[s + 1]);
        examples[s].index = static_cast<int64_t>(s);
        if (order.empty()) pointers.push_back(&examples[s]);
    }
    for (size_t s : order) pointers.push_back(&examples[s]);
    return pack(pointers);
}

inline std::vector<Batch> make_batches(const json& batches) {
    std::vector<Batch> made;
    for (const json& batch : batches) made.push_back(make_batch(batch));
    return made;
}

// Options of a golden case, with room for its batches, no dropout and, as the goldens were made, no rotation.
inline BuildOptions build_options(const json& golden, Method method) {
    BuildOptions options;
    options.method = method;
    options.rotation = false;
    options.lora.r = golden["lora"]["r"];
    options.lora.lora_alpha = golden["lora"]["alpha"];
    options.lora.lora_dropout = 0;
    options.lora.target_modules = golden["lora"]["target_modules"].get<std::vector<std::string>>();
    for (const Batch& batch : make_batches(golden["batches"])) {
        options.max_tokens = std::max(options.max_tokens, batch.n_tokens());
        options.max_sequence_length = std::max(options.max_sequence_length, batch.max_sequence_length());
        options.max_labelled = std::max(options.max_labelled, batch.n_labelled());
    }
    return options;
}

inline AdamWOptions adamw_options(const json& golden) {
    const json& adamw = golden["adamw"];
    AdamWOptions options;
    options.learning_rate = adamw["learning_rate"];
    options.beta1 = adamw["beta1"];
    options.beta2 = adamw["beta2"];
    options.eps = adamw["eps"];
    options.weight_decay = adamw["weight_decay"];
    return options;
}

// PEFT's name of lora_A or lora_B of an adapter.
inline std::string peft_name(const quaff::LoraAdapter& adapter, char matrix) {
    return "base_model.model." + adapter.module + ".lora_" + matrix + ".weight";
}

// Sets the model's adapters to those of a PEFT directory, which must hold exactly these.
template <class Device>
void load_adapter(quaff::Model<Device>& model, const std::filesystem::path& path) {
    const quaff::Adapter stored(path, model.config());
    require(stored.tensors().size() == model.adapters().size(), path.string(), " holds ", stored.tensors().size(),
            " adapters for ", model.adapters().size(), " of the model");
    quaff::load_adapter(model, stored);
}

// The largest distance of any adapter matrix (`what` "final.") or gradient ("grad.") from the golden one.
template <class Device>
double adapter_distance(quaff::Model<Device>& model, const SafetensorsFile& file, const std::string& what) {
    std::vector<float> flat = model.read(what.ends_with("grad.") ? model.gradients() : model.parameters());
    double largest = 0;
    for (const quaff::LoraAdapter& adapter : host_adapters(model, flat)) {
        const double a = distance(values(adapter.a), file, what + peft_name(adapter, 'A'));
        const double b = distance(values(adapter.b), file, what + peft_name(adapter, 'B'));
        largest = std::max({largest, a, b});
    }
    return largest;
}

// A case in int8, from quaff_reference.py: of the published method, or of a variant of it.
struct QuaffCase {
    explicit QuaffCase(const std::string& name, const std::string& variant = "quaff")
        : full_precision(read_json(directory(name) / "golden.json")),
          numbers(read_json(directory(name) / (variant + ".json"))),
          tensors(directory(name) / (variant + ".safetensors")),
          checkpoint(directory(name) / "model"),
          outliers(quaff::read_outlier_channels(directory(name) / numbers["outliers"].get<std::string>(),
                                                checkpoint.config())),
          options(build_options(full_precision, *quaff::parse_method(numbers.value("method", "quaff")))) {
        options.rotation = numbers.value("rotation", false);
        options.outlier_term = *value_in(quaff::kOutlierTermNames, numbers.value("term", "scaled"));
        options.scale_strength = numbers.value("strength", quaff::kPaperStrength);
        options.int8_threshold = numbers.value("threshold", options.int8_threshold);
        options.smooth_alpha = numbers.value("alpha", options.smooth_alpha);
        options.scale_momentum = numbers["gamma"];
        options.grad_bits = numbers["grad_bits"];
        if (!numbers["use_max_abs"]) outliers.max_abs.clear();
    }

    template <class Device = cpu::Device>
    std::unique_ptr<quaff::Model<Device>> build(const Device& device = one_thread()) const {
        auto model = std::make_unique<quaff::Model<Device>>(device, checkpoint, outliers, options);
        load_adapter(*model, directory(numbers["case"]) / "adapter");
        return model;
    }

    // s of one layer of `kind` after `step` steps.
    std::vector<float> expected_scales(const quaff::LayerScales& layer, const std::string& kind, int64_t step) const {
        const std::vector<float> all = read_tensor(tensors, kind + ".scales." + layer.module);
        const auto begin = all.begin() + step * std::ssize(layer.s);
        return {begin, begin + std::ssize(layer.s)};
    }

    // The largest distance of any layer's s from those of `kind` after `step` steps.
    template <class Device>
    double scales_distance(const quaff::Model<Device>& model, const std::string& kind, int64_t step) const {
        double largest = 0;
        for (const quaff::LayerScales& layer : model.scales())
            largest = std::max(largest, distance(layer.s, expected_scales(layer, kind, step)));
        return largest;
    }

    json full_precision, numbers;
    SafetensorsFile tensors;
    ModelFiles checkpoint;
    quaff::OutlierChannels outliers;
    BuildOptions options;
};

inline std::vector<Batch> batches_of(const QuaffCase& test) {
    return make_batches(test.full_precision["batches"]);
}

// The largest difference of the first batch's logits from those of the same model in full precision.
inline double error_of_logits(const QuaffCase& test) {
    const Batch batch = batches_of(test)[0];
    BuildOptions exact = test.options;
    exact.method = Method::fp;
    quaff::Model<cpu::Device> reference(one_thread(), test.checkpoint, {}, exact);
    load_adapter(reference, directory(test.numbers["case"]) / "adapter");
    return distance(test.build()->logits(batch), reference.logits(batch));
}

// The cases of quaff_reference.py: the published method, its rotation and split outlier channels, and other methods.
struct QuaffVariant {
    std::string name, variant;
};
inline const QuaffVariant kQuaffVariants[] = {{"llama_gqa", "quaff"},
                                              {"llama_tied_llama3", "quaff"},
                                              {"phi3", "quaff"},
                                              {"qwen2", "quaff"},
                                              {"qwen3", "quaff"},
                                              {"smollm3", "quaff"},
                                              {"llama_gqa", "rotated"},
                                              {"llama_tied_llama3", "rotated"},
                                              {"phi3", "rotated"},
                                              {"qwen2", "rotated"},
                                              {"qwen3", "rotated"},
                                              {"smollm3", "rotated"},
                                              {"llama_gqa", "split"},
                                              {"llama_tied_llama3", "rotated_split"},
                                              {"phi3", "rotated_split"},
                                              {"llama_gqa", "naive"},
                                              {"phi3", "strength"},
                                              {"llama_gqa", "llm_int8"},
                                              {"phi3", "llm_int8"},
                                              {"llama_gqa", "smooth_static"},
                                              {"phi3", "smooth_static"},
                                              {"llama_gqa", "smooth_dynamic"},
                                              {"phi3", "smooth_dynamic"},
                                              {"phi3", "qlora"},
                                              {"llama_tied_llama3", "qlora"}};

// The bound of an `exact` golden: that of fp32 noise, or twice what the reference itself moves when it is disturbed. It
// moves in naive int8, whose steps are larger, and in smooth-dynamic, which rounds all weights anew: no batches were
// found on which it does not.
inline double bound_of(const json& expected, const char* kind, double fp32_noise) {
    return std::max(fp32_noise, 2 * expected["spread"][kind].get<double>());
}

struct StepResult {
    double loss, gradient_norm;
};

// One training step on one micro-batch, clipped as torch.nn.utils.clip_grad_norm_ clips.
template <class Device>
StepResult train_step(quaff::Model<Device>& model, const Batch& batch, const AdamWOptions& adamw, double max_grad_norm,
                      int64_t step) {
    model.zero_gradients();
    model.forward(batch, 1.0f / static_cast<float>(batch.n_labelled()), static_cast<uint64_t>(step));
    model.backward(batch);
    const quaff::LossSums sums = model.losses();
    const double norm = model.gradient_norm();
    model.step(adamw, step, static_cast<float>(std::min(1.0, max_grad_norm / (norm + 1e-6))));
    return {sums.loss / static_cast<double>(sums.labelled), norm};
}

// `steps` steps, one on each batch in turn.
template <class Device>
std::vector<StepResult> train(quaff::Model<Device>& model, const json& golden, const std::vector<Batch>& batches,
                              size_t steps) {
    std::vector<StepResult> results;
    for (size_t step = 0; step < steps; step++)
        results.push_back(train_step(model, batches[step % batches.size()], adamw_options(golden),
                                     golden["max_grad_norm"], static_cast<int64_t>(step) + 1));
    return results;
}

inline double mean_loss(const quaff::LossSums& sums) {
    return sums.loss / static_cast<double>(sums.labelled);
}

}  // namespace golden
