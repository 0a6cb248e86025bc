#include "quaff/files/merge.h"

#include <algorithm>
#include <cmath>

#include "quaff/files/adapter.h"
#include "quaff/files/model_files.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/tiny_model.h"

using namespace quaff;
using nlohmann::json;
using test::error_of;
using test::TempDir;
using test::write_tiny_adapter;
using test::write_tiny_model;
namespace fs = std::filesystem;

namespace {

std::vector<float> values_of(const ModelFiles& checkpoint, const TensorSpec& spec) {
    const int64_t rows = spec.shape.size() == 1 ? 1 : spec.shape[0];
    std::vector<float> values(static_cast<size_t>(rows * spec.shape.back()));
    checkpoint.read(spec.name, {values.data(), rows, spec.shape.back()});
    return values;
}

}  // namespace

TEST_CASE("merging adds scaling B A to the adapted weights and leaves the others alone", "[merge]") {
    // One rounding to the stored type, and before it one to fp32 per product and sum: 3 terms of size 2 at most.
    const double kFp32 = 6 * 2 * 0x1p-23;
    const std::tuple<const char*, double> cases[] = {{"F32", 0}, {"F16", 0x1p-11}, {"BF16", 0x1p-8}};
    for (const auto& [dtype, half_ulp] : cases) {
        for (const bool sharded : {false, true}) {
            const TempDir model, work;
            write_tiny_model(model, test::tiny_config("phi3"), dtype, sharded);
            model.write("tokenizer.json", "{\"tokens\": []}");
            model.write("weights.bin", "not copied");
            write_tiny_adapter(model.path(), work / "adapter");
            const MergeReport report = merge_adapter(model.path(), work / "adapter", work / "merged");
            CHECK(report.merged_layers == 4);
            CHECK(report.files == (sharded ? 2 : 1));

            const ModelFiles before(model.path()), after(work / "merged");
            const Adapter adapter(work / "adapter", before.config());
            int64_t changed = 0;
            double change = 0, rounding = 0;  // squares
            for (const TensorSpec& spec : test::weight_specs(before.config(), dtype)) {
                const std::vector<float> w = values_of(before, spec), merged = values_of(after, spec);
                const LoraAdapter* lora = adapter.find(spec.name.substr(0, spec.name.rfind('.')));
                if (lora == nullptr) {
                    CHECK(w == merged);
                    continue;
                }
                ++changed;
                for (int64_t o = 0; o < spec.shape[0]; ++o) {
                    for (int64_t i = 0; i < spec.shape[1]; ++i) {
                        const auto at = static_cast<size_t>(o * spec.shape[1] + i);
                        double expected = w[at];
                        for (int64_t k = 0; k < 3; ++k) expected += 2.0 * lora->b(o, k) * lora->a(k, i);
                        change += (expected - w[at]) * (expected - w[at]);
                        rounding += (merged[at] - expected) * (merged[at] - expected);
                        REQUIRE(std::abs(merged[at] - expected) <= kFp32 + half_ulp * std::abs(expected));
                    }
                }
            }
            CHECK(changed == 4);
            // In F32 the report sees no rounding at all, and this loop that of the sums.
            CHECK(std::abs(report.rounding - std::sqrt(rounding / change)) < 1e-6);
            CHECK(test::read(work / "merged/config.json") == test::read(model / "config.json"));
            CHECK(test::read(work / "merged/tokenizer.json") == "{\"tokens\": []}");
            CHECK_FALSE(fs::exists(work / "merged/weights.bin"));
            CHECK(fs::exists(work / "merged/model.safetensors.index.json") == sharded);
            for (size_t i = 0; i < before.shards().size(); ++i) {
                CHECK(after.shards()[i].path().filename() == before.shards()[i].path().filename());
                for (const auto& [name, tensor] : before.shards()[i].tensors()) {
                    CHECK(after.shards()[i].tensor(name).dtype == tensor.dtype);
                    // The same place too: nothing a reader of the original relied on has moved.
                    CHECK(after.shards()[i].tensor(name).bytes.data() -
                              after.shards()[i].tensors().begin()->second.bytes.data() ==
                          tensor.bytes.data() - before.shards()[i].tensors().begin()->second.bytes.data());
                }
            }
        }
    }
}

// As PEFT's save_pretrained leaves it. transformers looks for the adapter wherever adapter_config.json lies.
TEST_CASE("a merged model holds no adapter, though the model's folder holds one", "[merge]") {
    const TempDir model, work;
    write_tiny_model(model);
    write_tiny_adapter(model.path(), model.path());
    model.write("quaff.json", "{\"method\": \"fp\"}");
    model.write("adapter_model.bin", "an older one");
    model.write("tokenizer.json", "{}");
    const MergeReport report = merge_adapter(model.path(), model.path(), work / "merged");
    CHECK(report.merged_layers == 4);
    std::vector<std::string> files;
    for (const auto& entry : fs::directory_iterator(work / "merged")) files.push_back(entry.path().filename());
    std::sort(files.begin(), files.end());
    CHECK(files == std::vector<std::string>{"config.json", "model.safetensors", "tokenizer.json"});
}

TEST_CASE("a merge tells what it did not follow, and writes an index that is true", "[merge]") {
    const TempDir model, work;
    json config = test::tiny_config();
    config["tie_word_embeddings"] = true;
    write_tiny_model(model, config, "F32", true);
    json index = json::parse(test::read(model / "model.safetensors.index.json"));
    index["weight_map"]["lm_head.weight"] = "model-00001-of-00002.safetensors";
    model.write("model.safetensors.index.json", index.dump());
    write_tiny_adapter(model.path(), work / "adapter");
    const MergeReport report = merge_adapter(model.path(), work / "adapter", work / "merged");
    REQUIRE(report.notes.size() == 2);
    CHECK(report.notes[0].find("the files are believed") != std::string::npos);
    CHECK(report.notes[1].find("tie_word_embeddings") != std::string::npos);
    const ModelFiles merged(work / "merged");
    REQUIRE(merged.config().notes.size() == 1);  // the head is still its own
    const std::vector<float> head = values_of(merged, {"lm_head.weight", "F32", {11, 8}});
    CHECK(head == values_of(ModelFiles(model.path()), {"lm_head.weight", "F32", {11, 8}}));
    const json written = json::parse(test::read(work / "merged/model.safetensors.index.json"));
    CHECK(written["weight_map"]["lm_head.weight"] == "model-00002-of-00002.safetensors");
    CHECK(written["weight_map"].size() == index["weight_map"].size());
    CHECK(written["metadata"] == index["metadata"]);
}

TEST_CASE("what cannot be merged is refused and leaves nothing behind", "[merge]") {
    const TempDir model, work;
    write_tiny_model(model, test::tiny_config(), "F16");
    write_tiny_adapter(model.path(), work / "adapter");
    const auto error = [&](const fs::path& adapter, const fs::path& out) {
        return error_of(work, [&] { merge_adapter(model.path(), adapter, out); });
    };
    CHECK(error(work / "adapter", model.path())
              .ends_with(": holds what is being merged; choose another directory for the result"));
    CHECK(error(work / "adapter", work / "adapter/") ==
          "adapter/: holds what is being merged; choose another directory for the result");
    fs::create_directory(work / "full");
    work.write("full/notes.txt", "keep me");
    CHECK(error(work / "adapter", work / "full") ==
          "full: already exists and is not an empty directory; choose another one or remove it first");
    CHECK(test::read(work / "full/notes.txt") == "keep me");
    fs::remove_all(work / "full");

    write_tiny_adapter(model.path(), work / "huge", 1e6f);  // beyond F16
    const std::string overflow = error(work / "huge", work / "merged");
    CHECK(overflow.find("the merged model.layers.0.") != std::string::npos);
    CHECK(overflow.ends_with("which F16 does not hold; the adapter does not belong to this model"));
    const TempDir other;
    json config = test::tiny_config();
    config["hidden_size"] = 16;
    write_tiny_model(other, config);
    write_tiny_adapter(other.path(), work / "other");
    CHECK(error(work / "other", work / "merged").ends_with("the adapter belongs to another model"));
    std::vector<std::string> left;
    for (const auto& entry : fs::directory_iterator(work.path())) left.push_back(entry.path().filename());
    std::sort(left.begin(), left.end());
    CHECK(left == std::vector<std::string>{"adapter", "huge", "other"});

    fs::create_directory(work / "empty");
    CHECK(error(work / "adapter", work / "empty/") == "");
    CHECK(fs::exists(work / "empty/config.json"));
}
