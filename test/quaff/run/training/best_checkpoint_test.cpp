// The best checkpoint and early stopping. Expected decisions: transformers' EarlyStoppingCallback and
// Trainer._determine_best_metric, in that order.
#include "quaff/run/training/best_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <limits>

#include "llmc/core/error.h"
#include "quaff/files/checkpoint_folder.h"
#include "quaff/run/training/training_state.h"
#include "test/catch.h"
#include "test/quaff/workshop.h"

using namespace quaff;
using Catch::Matchers::ContainsSubstring;

namespace {

// Evaluations after steps 1, 2, ..; all of them are saved.
BestSoFar after(const BestCheckpoint& best, const std::vector<double>& figures) {
    BestSoFar so_far;
    int64_t step = 0;
    for (const double figure : figures) {
        const double counted = best.update(so_far, ++step, {{best.metric(), figure}});
        best.update_checkpoint(so_far, step, counted);
    }
    return so_far;
}

std::string weights_of(const fs::path& folder) {
    return small::read_text(folder / "adapter_model.safetensors");
}

}  // namespace

TEST_CASE("an improvement smaller than the threshold is the new best, but no reason for patience", "[best]") {
    TrainingOptions options;
    options.early_stopping_patience = 2;
    options.early_stopping_threshold = 0.1;
    const BestCheckpoint best(options);
    CHECK(after(best, {}).checkpoint.step == 0);
    CHECK(after(best, {2.0}).without_improvement == 0);
    const BestSoFar little = after(best, {2.0, 1.95, 1.9});
    CHECK(little.without_improvement == 2);
    CHECK(little.checkpoint.step == 3);
    CHECK(best.has_stalled(little));
    // The threshold is counted from the best figure, which the small improvements have moved.
    CHECK(best.has_stalled(after(best, {2.0, 1.95, 1.88})));
    CHECK_FALSE(best.has_stalled(after(best, {2.0, 1.95, 1.8})));
    // The first of equals stays.
    CHECK(after(best, {2.0, 1.0, 1.0}).checkpoint.step == 2);
}

TEST_CASE("the metric says whether greater is better", "[best]") {
    TrainingOptions options;
    for (const char* name : {"loss", "eval_loss", "perplexity", "word_perplexity"}) {
        options.metric_for_best_model = name;
        CHECK_FALSE(BestCheckpoint(options).greater_is_better());
    }
    for (const char* name : {"token_accuracy", "exact_match", "eval_rouge_l", "choice_accuracy"}) {
        options.metric_for_best_model = name;
        CHECK(BestCheckpoint(options).greater_is_better());
    }
    CHECK(after(BestCheckpoint(options), {0.5, 0.7, 0.6}).checkpoint.step == 2);
}

TEST_CASE("an evaluation without a checkpoint, or without a finite figure, is no candidate", "[best]") {
    TrainingOptions options;
    options.load_best_model_at_end = true;
    options.metric_for_best_model = "perplexity";
    const BestCheckpoint best(options);
    BestSoFar so_far = after(best, {std::numeric_limits<double>::infinity()});
    CHECK(so_far.checkpoint.step == 0);
    CHECK(so_far.without_improvement == 1);
    best.update(so_far, 2, {{"perplexity", 3.0}});
    best.update_checkpoint(so_far, 3, best.update(so_far, 3, {{"perplexity", 4.0}}));
    best.update_checkpoint(so_far, 4, NAN);  // saved without an evaluation
    CHECK(so_far.evaluation.step == 2);
    CHECK(so_far.checkpoint.step == 3);
    // What is written is read back.
    const nlohmann::json tree = to_json(so_far);
    CHECK(to_json(read_best(llmc::JsonObject(tree, "state.json"))) == to_json(so_far));
}

TEST_CASE("options that cannot give a best checkpoint are refused", "[best]") {
    const Workshop shop("best_refused");
    const auto refuses = [&](const std::vector<std::string>& more, const char* sentence) {
        CHECK_THROWS_WITH(shop.line("run", more), ContainsSubstring(sentence));
    };
    refuses({"--load-best-model-at-end", "--save-steps", "3", "--eval-steps", "2"}, "must be a multiple");
    refuses({"--load-best-model-at-end", "--save-steps", "0"}, "needs evaluated checkpoints");
    refuses({"--load-best-model-at-end", "--refresh-outliers", "2"}, "--refresh-outliers");
    refuses({"--early-stopping-patience", "1", "--eval-steps", "0"}, "--eval-steps 0");
    refuses({"--metric-for-best-model", "bleu"}, "loss, perplexity and token_accuracy");
    CHECK_THROWS_WITH(shop.run("run", {"--load-best-model-at-end", "--max-steps", "5"}),
                      ContainsSubstring("no checkpoint is evaluated"));
    CHECK_THROWS_WITH(shop.run("run", {"--early-stopping-patience", "1", "--eval-split", "0"}),
                      ContainsSubstring("needs examples to evaluate on"));
    CHECK_THROWS_WITH(shop.run("run", {"--early-stopping-patience", "1", "--metric-for-best-model", "rouge_l"}),
                      ContainsSubstring("--metrics rouge_l"));
}

TEST_CASE("the adapter is that of the best checkpoint, which is never removed, also in a resumed run",
          "[best][trainer]") {
    const Workshop shop("best");
    // Steps this large make the loss fall and rise again.
    const std::vector<std::string> options = {"--load-best-model-at-end",
                                              "--max-steps",
                                              "12",
                                              "--eval-steps",
                                              "2",
                                              "--save-steps",
                                              "2",
                                              "--save-total-limit",
                                              "1",
                                              "--learning-rate",
                                              "0.3"};
    const auto result = shop.run("whole", options);
    const fs::path whole = shop.folder / "whole";
    int64_t best = 0;
    double least = std::numeric_limits<double>::infinity();
    for (const nlohmann::json& line : shop.log("whole")) {
        if (!line.contains("eval_loss") || line.contains("best_step") || line["step"] == 0) continue;
        if (line["eval_loss"].get<double>() < least) best = line["step"], least = line["eval_loss"].get<double>();
    }
    CAPTURE(best, result.dump());
    REQUIRE(best > 0);
    REQUIRE(best < 12);
    CHECK(result["best"]["step"] == best);
    CHECK(result["eval_after"]["loss"].get<double>() == Approx(least).epsilon(1e-8));  // it has nine digits
    CHECK(list_checkpoints(whole).size() == 2);
    CHECK(weights_of(whole / "adapter") == weights_of(whole / ("checkpoint-" + std::to_string(best))));
    CHECK(weights_of(whole / "adapter") != weights_of(whole / "checkpoint-12"));
    CHECK(small::read_text(shop.folder / "terminal.txt").find(", whose checkpoint is the adapter") !=
          std::string::npos);

    const int64_t stop = GENERATE(3, 6, 9);
    CAPTURE(stop);
    bool stopped = false;
    shop.run("parts", options, &stopped, false, [&](int64_t step, int64_t, int64_t) {
        if (step == stop) raise(SIGTERM);
    });
    REQUIRE(stopped);
    SECTION("in its folder") {
        shop.run("parts", {"--resume", "--learning-rate", "0.3"});
        CHECK(shop.adapter("parts") == shop.adapter("whole"));
        CHECK(to_json(read_state(shop.folder / "parts" / "checkpoint-12").best) ==
              to_json(read_state(whole / "checkpoint-12").best));
        // Once more there is nothing left to do, and the best one is found again.
        const auto log = shop.log("parts");
        shop.run("parts", {"--resume", "--learning-rate", "0.3"});
        CHECK(shop.adapter("parts") == shop.adapter("whole"));
        CHECK(shop.log("parts") == log);
    }
    SECTION("in another folder, into which the best checkpoint follows") {
        shop.run("other", {"--resume", (shop.folder / "parts").string(), "--learning-rate", "0.3"});
        CHECK(shop.adapter("other") == shop.adapter("whole"));
    }
    if (stop < 9) return;
    SECTION("without the best checkpoint, the best of those to come counts") {
        const fs::path parts = shop.folder / "parts";
        const fs::path newest = newest_intact_checkpoint(parts, [](const std::string&) {});
        const int64_t lost = read_state(newest).best.checkpoint.step;
        REQUIRE(lost > 0);
        REQUIRE(parts / ("checkpoint-" + std::to_string(lost)) != newest);
        fs::remove(parts / ("checkpoint-" + std::to_string(lost)) / "adapter_model.safetensors");
        const auto resumed = shop.run("parts", {"--resume", "--learning-rate", "0.3"});
        CHECK(resumed["best"]["loaded"] == true);
        CHECK(resumed["best"]["step"].get<int64_t>() >= 9);
    }
}

TEST_CASE("the checkpoint that early stopping leaves is a candidate", "[best][trainer]") {
    const Workshop shop("best_stalled");
    // The first evaluation alone improves by that much; every fourth step is saved, and the sixth because the run ends.
    const auto result =
        shop.run("run", {"--load-best-model-at-end", "--early-stopping-patience", "2", "--early-stopping-threshold",
                         "1000", "--eval-steps", "2", "--save-steps", "4", "--max-steps", "20"});
    CHECK(result["steps"] == 6);
    const BestSoFar best = read_state(shop.folder / "run" / "checkpoint-6").best;
    double at_four = NAN, at_six = NAN;
    for (const nlohmann::json& line : shop.log("run")) {
        if (!line.contains("eval_loss") || line.contains("best_step")) continue;
        if (line["step"] == 4) at_four = line["eval_loss"];
        if (line["step"] == 6) at_six = line["eval_loss"];
    }
    CHECK(best.checkpoint.step == (at_six < at_four ? 6 : 4));
    CHECK(best.checkpoint.figure == Approx(std::min(at_four, at_six)).epsilon(1e-8));  // it has nine digits
    CHECK(shop.log("run").back()["best_step"] == best.checkpoint.step);
}

TEST_CASE("a run without improvement stops, and so does one that was interrupted", "[best][trainer]") {
    const Workshop shop("patience");
    // Only the first evaluation improves by that much.
    const std::vector<std::string> options = {"--early-stopping-patience",
                                              "2",
                                              "--early-stopping-threshold",
                                              "1000",
                                              "--eval-steps",
                                              "2",
                                              "--max-steps",
                                              "20"};
    const auto result = shop.run("whole", options);
    CHECK(result["steps"] == 6);
    CHECK(result["stopped_early"] == true);
    CHECK(small::read_text(shop.folder / "terminal.txt").find("stopped early: no improvement in 2 evaluations") !=
          std::string::npos);
    CHECK(list_checkpoints(shop.folder / "whole").size() == 1);
    CHECK(weights_of(shop.folder / "whole" / "adapter") == weights_of(shop.folder / "whole" / "checkpoint-6"));
    // A run that is over stays so; with more patience it goes on.
    CHECK(shop.run("whole", {"--resume"})["steps"] == 6);
    CHECK(shop.run("whole", {"--resume", "--early-stopping-patience", "3"})["steps"] == 8);

    const int64_t stop = GENERATE(3, 4, 5, 6);
    CAPTURE(stop);
    bool stopped = false;
    shop.run("parts", options, &stopped, false, [&](int64_t step, int64_t, int64_t) {
        if (step == stop) raise(SIGTERM);
    });
    REQUIRE(stopped);
    CHECK(shop.run("parts", {"--resume"})["steps"] == 6);
}
