// Evaluations whose loss is not finite.
#include "quaff/run/evaluate.h"

#include "llmc/core/error.h"
#include "quaff/cli/verbs.h"
#include "test/catch.h"
#include "test/quaff/tiny_model.h"
#include "test/quaff/workshop.h"

using namespace quaff;
using Catch::Matchers::ContainsSubstring;

namespace {

// A good model but for token 47, whose scores in the first block overflow fp32.
void spoil_token_47(const Workshop& shop) {
    test::change_weights(shop.folder / "model" / "model.safetensors",
                         [](const std::string& name, Matrix<float> weight) {
                             if (name == "model.embed_tokens.weight")
                                 for (int64_t token = 0; token < weight.rows; ++token)
                                     weight.row(token)[0] = token == 47 ? 1.0f : 0.0f;
                             if (name == "model.layers.0.input_layernorm.weight") weight.data[0] = 1e30f;
                         });
}

}  // namespace

TEST_CASE("an evaluation whose loss is not finite fails and names the first such example and layer", "[evaluate]") {
    const Workshop shop("nonfinite");
    spoil_token_47(shop);
    const std::string file = (shop.folder / "eval.jsonl").string(), good = "{\"input_ids\": [1, 2, 3]}\n",
                      bad = "{\"input_ids\": [4, 47, 5]}\n";
    small::write_text(file, good + good + good + bad + good + bad);
    const auto evaluate = [&](const std::string& method) {
        Terminal terminal(nullptr, /*quiet=*/true);
        cpu::Device device;
        const cli::CommandLine line =
            cli::parse({"eval", "--model", (shop.folder / "model").string(), "--data", file, "--method", method});
        return test::error_of([&] { cli::run_verb(line, terminal, device); });
    };
    const std::string error = evaluate("fp");
    CHECK_THAT(error, ContainsSubstring(file + ": example 4: the loss is "));
    CHECK_THAT(error, ContainsSubstring("model.layers.0"));

    // Before training, too.
    CHECK_THAT(test::error_of([&] {
                   shop.run("run", {"--method", "fp", "--eval-data", file});
               }),
               ContainsSubstring("the evaluation before training: " + file + ": example 4: the loss is "));
    // Examples held out of --data are named by their place in that file.
    small::write_text(file, good + bad + bad + bad);
    CHECK_THAT(test::error_of([&] {
                   shop.run("held_out", {"--method", "fp", "--data", file, "--eval-split", "0.9"});
               }),
               ContainsSubstring("the evaluation before training: " + file + ": example 2: the loss is "));
    small::write_text(file, good + good);
    CHECK(evaluate("fp").empty());
}

TEST_CASE("an adapter that blew up is an error, not a loss of null", "[evaluate]") {
    const Workshop shop("blown_up");
    shop.run("run", {"--method", "fp", "--max-steps", "1", "--save-steps", "0", "--eval-split", "0"});
    const fs::path weights = shop.folder / "run" / "adapter" / "adapter_model.safetensors";
    std::vector<llmc::TensorSpec> specs;
    {
        const llmc::SafetensorsFile read(weights);
        for (const auto& [name, tensor] : read.tensors()) specs.push_back({name, "F32", tensor.shape});
    }
    llmc::SafetensorsWriter writer(weights, specs);
    for (const llmc::TensorSpec& spec : specs)
        writer.write(spec.name, std::span<const float>(
                                    std::vector<float>(static_cast<size_t>(spec.shape[0] * spec.shape[1]), 1e30f)));
    writer.finish();
    Terminal terminal(nullptr, /*quiet=*/true);
    cpu::Device device;
    const std::string file = (shop.folder / "train.jsonl").string();
    const cli::CommandLine line = cli::parse({"eval", "--model", (shop.folder / "model").string(), "--data", file,
                                              "--adapter", (shop.folder / "run" / "adapter").string()});
    CHECK_THAT(test::error_of([&] { cli::run_verb(line, terminal, device); }),
               ContainsSubstring(file + ": example 1: the loss is "));
}
