#include "quaff/run/training/model_card.h"

#include <nlohmann/json.hpp>

#include "quaff/files/checkpoint_folder.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/workshop.h"

using namespace quaff;
using nlohmann::ordered_json;

namespace {

bool mentions(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a card tells model, data, options, figures and use, and of files the names alone", "[card]") {
    Options options;
    options.model.folder = "/home/me/cache/snapshots/0123";
    options.model.hub_name = "org/a \"model\"";
    options.data.files = {"/secret/place/train|`1`.jsonl", "-"};
    LoraConfig lora;
    TrainingState state;
    state.step = 40;
    state.epoch = 1.5;
    state.eval_before = {{"loss", 2.5}, {"perplexity", nullptr}, {"labelled_tokens", 70}};
    const ordered_json after = {{"loss", 1.25}, {"perplexity", 3.5}, {"labelled_tokens", 70}};
    const std::string card = model_card(options, {{"learning-rate", "0.001"}}, lora, state, after);

    CHECK(
        card.starts_with("---\nbase_model: \"org/a \\\"model\\\"\"\nlibrary_name: peft\npipeline_tag: "
                         "text-generation\ntags:\n- lora\n- quaff\n---\n"));
    CHECK(mentions(card, "| training data | `train??1?.jsonl`, standard input |"));
    CHECK(mentions(card, "| evaluation data | 10% of the training data, held out |"));
    CHECK(mentions(card, "| length | 40 steps, 1.5 epochs |"));
    CHECK(mentions(card, "| loss | 2.5000 | 1.2500 |"));
    CHECK_FALSE(mentions(card, "| perplexity"));
    CHECK_FALSE(mentions(card, "labelled_tokens"));
    CHECK(mentions(card, "| `--learning-rate` | `0.001` |"));
    for (const char* way : {"PeftModel.from_pretrained", "train_quaff merge --model ", "vllm serve ", "llama-cli"})
        CHECK(mentions(card, way));
    CHECK_FALSE(mentions(card, "secret"));
    CHECK_FALSE(mentions(card, "/home/me"));
    CHECK_FALSE(mentions(card, "--max-lora-rank"));

    lora.r = 40;
    const std::string without = model_card(options, {}, lora, state, nullptr);
    CHECK_FALSE(mentions(without, "before training"));
    CHECK_FALSE(mentions(without, "evaluation data"));
    CHECK_FALSE(mentions(without, "defaults"));
    CHECK(mentions(without, " --max-lora-rank 64 "));
    CHECK(mentions(without, "train_quaff merge --model 'org/a \"model\"' --adapter"));

    // A folder of one's own is no model that others could fetch.
    options.model.hub_name.clear();
    options.model.folder = "/home/me/my $model/";
    const std::string local = model_card(options, {}, lora, state, nullptr, 30);
    CHECK(local.starts_with("---\nlibrary_name: peft\n"));
    CHECK(mentions(local, "# LoRA adapter of `my $model`\n"));
    CHECK(mentions(local, "train_quaff merge --model 'my $model' --adapter"));
    CHECK(mentions(local, "| length | 40 steps, 1.5 epochs; these are the weights of step 30 |"));
    CHECK_FALSE(mentions(local, "/home/me"));
}

TEST_CASE("the adapter of a run has tokenizer and card, its checkpoints have neither, and a card of one's own stays",
          "[card][trainer]") {
    const Workshop shop("card");
    const fs::path run = shop.folder / "run", card = run / "adapter" / kModelCard;
    test::write_text(shop.folder / "model" / "merges.txt", "a b\n");
    const std::vector<std::string> options = {"--max-steps", "2",           "--save-steps",
                                              "1",           "--eval-data", (shop.folder / "eval.jsonl").string()};
    const ordered_json result = shop.run("run", options);
    CHECK(test::read(run / "adapter" / "merges.txt") == "a b\n");
    const std::string ours = test::read(card);
    const auto loss = [&](const char* when) { return format("%.4f", result[when]["loss"].get<double>()); };
    CHECK(mentions(ours, concat("| loss | ", loss("eval_before"), " | ", loss("eval_after"), " |")));
    CHECK(mentions(ours, "| evaluation data | `eval.jsonl` |"));
    CHECK(mentions(ours, "| `--lora-r` | `4` |"));
    CHECK_FALSE(mentions(ours, "| `--data`"));
    CHECK_FALSE(mentions(ours, "`--lora-alpha`"));
    REQUIRE(list_checkpoints(run).size() == 2);
    for (const fs::path& checkpoint : list_checkpoints(run)) {
        CHECK_FALSE(fs::exists(checkpoint / kModelCard));
        CHECK_FALSE(fs::exists(checkpoint / "merges.txt"));
    }

    // Prolonged, the run replaces its adapter: a card that it wrote is new, any other is the old one.
    std::vector<std::string> prolonged = options;
    prolonged[1] = "3";
    prolonged.emplace_back("--resume");
    shop.run("run", prolonged);
    CHECK(mentions(test::read(card), "| length | 3 steps"));
    test::write_text(card, "# Mine\n");
    prolonged[1] = "4";
    shop.run("run", prolonged);
    CHECK(test::read(card) == "# Mine\n");
}
