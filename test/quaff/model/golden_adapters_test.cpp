// Adapters whose layers differ from each other in rank, in alpha, or in having one at all, against PEFT: their losses
// and gradient norms over a few AdamW steps, and what is saved of them.
#include <filesystem>

#include "quaff/files/merge.h"
#include "quaff/model/saved_adapter.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/golden.h"

using namespace golden;
using nlohmann::ordered_json;

namespace {

struct AdapterCase {
    explicit AdapterCase(const std::string& name)
        : folder(directory("adapters") / name),
          expected(read_json(folder / "golden.json")),
          numbers(read_json(directory(expected["model"]) / "golden.json")),
          checkpoint(directory(expected["model"]) / "model"),
          batches(make_batches(numbers["batches"])),
          options(build_options(numbers, Method::fp)) {
        options.lora = quaff::read_lora_config(folder);
    }

    std::unique_ptr<Model> build(const ModelFiles& files, const std::filesystem::path& adapter) const {
        auto model = quaff::build_quantized_model(files, {}, options, one_thread());
        load_adapter(*model, adapter);
        return model;
    }

    std::filesystem::path folder;
    json expected, numbers;
    ModelFiles checkpoint;
    std::vector<Batch> batches;
    BuildOptions options;
};

const char* const kCases[] = {"ranks", "layers", "expression", "fused"};

}  // namespace

TEST_CASE("adapters of different rank and scaling train as in PEFT", "[golden][lora]") {
    for (const std::string name : kCases) {
        // A recomputed block shares its buffers with others, whose ranks are not its own.
        for (const quaff::Recompute recompute : {quaff::Recompute::none, quaff::Recompute::block}) {
            CAPTURE(name, recompute);
            AdapterCase test(name);
            test.options.recompute = recompute;
            const auto model = test.build(test.checkpoint, test.folder);
            json modules;
            for (const quaff::LoraAdapter& adapter : model->adapters())
                modules[adapter.module] = {adapter.b.cols, adapter.scaling};
            REQUIRE(modules.size() == test.expected["modules"].size());
            for (const auto& [module, of] : test.expected["modules"].items()) {
                CHECK(modules[module][0] == of[0]);
                CHECK(modules[module][1].get<double>() == Approx(of[1].get<double>()).epsilon(1e-7));  // fp32
            }
            const std::vector<StepResult> results =
                train(*model, test.numbers, test.batches, test.expected["losses"].size());
            for (size_t step = 0; step < results.size(); step++) {
                CAPTURE(step);
                // As in golden_fp_test.cpp.
                CHECK(results[step].loss == Approx(test.expected["losses"][step].get<double>()).epsilon(1e-5));
                CHECK(results[step].gradient_norm ==
                      Approx(test.expected["grad_norms"][step].get<double>()).epsilon(1e-4));
            }
        }
    }
}

TEST_CASE("an adapter that is read, trained on and saved keeps what chooses its layers", "[golden][lora]") {
    for (const std::string name : kCases) {
        CAPTURE(name);
        const AdapterCase test(name);
        const auto model = test.build(test.checkpoint, test.folder);
        train(*model, test.numbers, test.batches, 2);
        const double loss = mean_loss(model->evaluate(test.batches[0]));
        const test::TempDir out;
        quaff::save_adapter(out.path(), *model, "base/model", {});

        const ordered_json before = ordered_json::parse(test::read(test.folder / "adapter_config.json"));
        const ordered_json after = ordered_json::parse(test::read(out / "adapter_config.json"));
        for (const char* key : {"r", "lora_alpha", "use_rslora", "exclude_modules", "layers_to_transform",
                                "rank_pattern", "alpha_pattern"}) {
            CAPTURE(key);
            CHECK(after[key] == before[key]);
        }
        if (name != "fused") CHECK(after["target_modules"] == before["target_modules"]);
        CHECK(after["base_model_name_or_path"] == "base/model");
        CHECK(mean_loss(test.build(test.checkpoint, out.path())->evaluate(test.batches[0])) == loss);
    }
}

TEST_CASE("a merged model is the model with its adapter, layer by layer", "[golden][lora][merge]") {
    for (const std::string name : kCases) {
        CAPTURE(name);
        AdapterCase test(name);
        const double loss = mean_loss(test.build(test.checkpoint, test.folder)->evaluate(test.batches[0]));
        const test::TempDir out;
        const quaff::MergeReport report =
            quaff::merge_adapter(test.checkpoint.directory(), test.folder, out / "merged");
        CHECK(report.merged_layers == std::ssize(test.expected["modules"]));
        test.options.adapters = test.options.training = false;
        const auto merged = quaff::build_quantized_model(ModelFiles(out / "merged"), {}, test.options, one_thread());
        CHECK(mean_loss(merged->evaluate(test.batches[0])) == Approx(loss).epsilon(1e-5));  // rounded once more
    }
}
