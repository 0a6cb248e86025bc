// A language model inside the files of a multimodal model, under both names that transformers has given its
// tensors.
#include <nlohmann/json.hpp>

#include "quaff/files/adapter.h"
#include "quaff/files/merge.h"
#include "quaff/files/model_files.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/tiny_model.h"

using namespace quaff;
using nlohmann::json;
using test::TempDir;

namespace {

constexpr const char* kVision = "vision_tower.patch_embedding.weight";

json wrapper_config() {
    json text = test::tiny_config("gemma3_text");
    text["head_dim"] = 4;
    return {{"model_type", "gemma3"}, {"architectures", {"Gemma3ForConditionalGeneration"}}, {"text_config", text}};
}

// transformers 4 wrote "language_model.model.", transformers 5 has "model.language_model.".
std::string as_written(std::string name, bool by_4) {
    const std::string own = "model.language_model.";
    if (by_4 && name.starts_with(own)) return "language_model.model." + name.substr(own.size());
    if (by_4 && name.starts_with("lm_head.")) return "language_model." + name;
    return name;
}

void write_wrapped_model(const TempDir& directory, bool by_4) {
    directory.write("config.json", wrapper_config().dump());
    std::vector<TensorSpec> specs = test::weight_specs(read_model_config(directory.path()), "F32");
    specs.pop_back();  // the head is tied
    for (TensorSpec& spec : specs) spec.name = as_written(spec.name, by_4);
    specs.push_back({kVision, "F32", {3, 5}});
    test::write_tensors(directory / "model.safetensors", specs);
}

std::vector<float> stored(const std::filesystem::path& file, const std::string& tensor) {
    const SafetensorsFile weights(file);
    std::vector<float> values(static_cast<size_t>(weights.tensor(tensor).size()));
    weights.read(tensor, values);
    return values;
}

}  // namespace

TEST_CASE("the language model is read, adapted and merged inside a multimodal model", "[checkpoint_reader][merge]") {
    const bool by_4 = GENERATE(true, false);
    CAPTURE(by_4);
    const TempDir model, work;
    write_wrapped_model(model, by_4);
    const ModelFiles files(model.path());
    REQUIRE(files.config().notes.size() == 1);
    CHECK(files.config().notes[0].find(kVision) != std::string::npos);

    const std::string linear = "model.language_model.layers.1.mlp.down_proj";
    const std::string in_file = as_written(linear + ".weight", by_4);
    const int64_t rows = files.config().hidden_size, cols = files.config().intermediate_size;
    std::vector<float> values(static_cast<size_t>(rows * cols));
    files.read(linear + ".weight", {values.data(), rows, cols});
    CHECK(values == stored(model / "model.safetensors", in_file));
    std::vector<float> norm(static_cast<size_t>(rows));
    files.read(kLastNorm, {norm.data(), 1, rows});
    CHECK(norm == stored(model / "model.safetensors", as_written("model.language_model.norm.weight", by_4)));

    // PEFT's names, whatever the model's files say.
    test::write_tiny_adapter(model.path(), work / "adapter");
    CHECK(SafetensorsFile(work / "adapter" / "adapter_model.safetensors")
              .contains("base_model.model." + linear + ".lora_A.weight"));
    const MergeReport report = merge_adapter(model.path(), work / "adapter", work / "merged");
    CHECK(report.merged_layers == 4);
    CHECK(stored(work / "merged" / "model.safetensors", in_file) != values);
    CHECK(stored(work / "merged" / "model.safetensors", kVision) == stored(model / "model.safetensors", kVision));
}

TEST_CASE("a missing tensor of a wrapped model is named as its files would name it", "[checkpoint_reader]") {
    const TempDir directory;
    write_wrapped_model(directory, true);
    const ModelFiles files(directory.path());
    std::vector<float> values(8);
    CHECK_THROWS_WITH(files.read("model.language_model.layers.0.self_attn.q_proj.bias", {values.data(), 1, 8}),
                      Catch::Matchers::ContainsSubstring(
                          "the weights have no tensor language_model.model.layers.0.self_attn.q_proj.bias"));
}

TEST_CASE("the width's root that multiplies the embedding is rounded to the embedding's type", "[checkpoint_reader]") {
    json config = test::tiny_config("gemma2");
    config["head_dim"] = 4;
    for (const auto& [dtype, multiplier] : {std::pair("F32", 0x1.6a09e6p+1), std::pair("BF16", 2.828125)}) {
        const TempDir directory;
        test::write_tiny_model(directory, config, dtype);
        CHECK(ModelFiles(directory.path()).config().embedding_multiplier == multiplier);  // sqrt(8)
    }
}
