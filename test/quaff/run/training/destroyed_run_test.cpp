// Runs that training has made worse or destroyed, and runs that only look like it.
#include <algorithm>
#include <cmath>
#include <csignal>
#include <limits>

#include "llmc/core/error.h"
#include "quaff/files/checkpoint_folder.h"
#include "quaff/run/training/vanished_gradient.h"
#include "test/catch.h"
#include "test/quaff/program.h"
#include "test/quaff/tiny_model.h"
#include "test/quaff/workshop.h"

using namespace quaff;
using Catch::Matchers::ContainsSubstring;
using Arguments = std::vector<std::string>;

TEST_CASE("a zero gradient for three steps in a row, at a loss that is not zero, is proof", "[destroyed]") {
    VanishedGradient gradient;
    gradient.update(1, 3.5, 0.2);
    gradient.update(2, 3.9, 0);
    CHECK(gradient.is_zero());
    CHECK_THAT(gradient.note(), ContainsSubstring("exactly zero at a loss of 3.9000"));
    gradient.update(3, 3.9, std::numeric_limits<double>::infinity());  // skipped: says nothing
    CHECK(gradient.is_zero());
    gradient.update(4, 3.9, 0);
    CHECK(gradient.is_suspect());
    CHECK_FALSE(gradient.is_proven());
    gradient.update(5, 3.9, 0);
    CHECK(gradient.is_proven());
    CHECK(gradient.first() == 2);
    CHECK_THAT(gradient.verdict("out/checkpoint-0"),
               ContainsSubstring("step 5: the gradient has been exactly zero since step 2, at a loss of 3.9000. ") &&
                   ContainsSubstring("Lower --learning-rate or --max-grad-norm") &&
                   ContainsSubstring("start from it with --adapter out/checkpoint-0"));
}

TEST_CASE("a zero gradient once, or on data learnt by heart, is no proof", "[destroyed]") {
    VanishedGradient gradient;
    for (int64_t step = 1; step <= 20; ++step) gradient.update(step, 2.0, step % 3 == 0 ? 1e-30 : 0);
    CHECK(gradient.is_zero());
    CHECK_FALSE(gradient.is_proven());
    CHECK_FALSE(gradient.is_suspect());  // it came back six times
    for (int64_t step = 21; step <= 40; ++step) gradient.update(step, 5e-4, 0);
    CHECK_FALSE(gradient.is_zero());
    CHECK(gradient.note().empty());
    for (int64_t step = 41; step <= 60; ++step) gradient.update(step, 1e-2, 1e-30);
    CHECK_FALSE(gradient.is_zero());
}

// Adapters so large that the last norm's mean of squares is infinite: the logits are then all zero.
TEST_CASE("a run that is destroyed stops, names the step and saves no checkpoint of it", "[trainer][destroyed]") {
    const Workshop shop("destroyed");
    for (const std::string method : {"fp", "quaff"}) {
        CAPTURE(method);
        const Arguments arguments = {"--learning-rate", "1e10", "--max-steps", "20",  "--save-steps", "1",
                                     "--eval-split",    "0",    "--method",    method};
        const std::string error = test::error_of([&] { shop.run(method, arguments); });
        INFO(error);
        const std::vector<nlohmann::json> log = shop.log(method);
        REQUIRE(log.size() >= 4);
        int64_t first = 0;
        for (const nlohmann::json& line : log) {
            CHECK(line.contains("warning") == (line["grad_norm"] == 0));
            if (first == 0 && line["grad_norm"] == 0) first = line["step"];
        }
        REQUIRE(first > 1);
        CHECK(log.back()["step"] == first + 2);
        CHECK(log.back()["loss"].get<double>() == Approx(std::log(small::kVocabulary)).epsilon(1e-6));
        CHECK_THAT(error, ContainsSubstring(concat("exactly zero since step ", first, ", at a loss of 3.87")));
        CHECK_THAT(error, ContainsSubstring("Lower --learning-rate or --max-grad-norm"));
        const auto checkpoints = list_checkpoints(shop.folder / method);
        for (const fs::path& checkpoint : checkpoints) CHECK(read_state(checkpoint).step < first);
        // The newest one contains the update that did it.
        if (first > 2)
            CHECK_THAT(error, ContainsSubstring("the last checkpoint from before is " + checkpoints[1].string()));
        else
            CHECK_THAT(error, ContainsSubstring("there is no checkpoint from before"));
        CHECK_FALSE(fs::exists(shop.folder / method / "adapter"));
    }
}

TEST_CASE("a run that is destroyed in its last step fails and leaves its adapter", "[trainer][destroyed]") {
    const Workshop shop("destroyed_last");
    Arguments arguments = {"--learning-rate", "1e10", "--max-steps",  "20", "--save-steps", "0",
                           "--method",        "fp",   "--eval-split", "0"};
    test::error_of([&] { shop.run("probe", arguments); });
    int64_t first = 0;
    for (const nlohmann::json& line : shop.log("probe"))
        if (first == 0 && line.contains("grad_norm") && line["grad_norm"] == 0) first = line["step"];
    REQUIRE(first > 1);
    arguments[3] = std::to_string(first);
    const std::string error = test::error_of([&] { shop.run("run", arguments); });
    const std::string adapter = (shop.folder / "run" / "adapter").string();
    CHECK_THAT(error, ContainsSubstring("Training has destroyed the adapters") &&
                          ContainsSubstring("; the adapter as it is now is in " + adapter));
    CHECK(fs::exists(adapter + "/adapter_config.json"));
}

// A token whose embedding is zero, as that of padding often is: every input of every adapter is zero with it.
TEST_CASE("a few steps without a gradient do not end a run", "[trainer][destroyed]") {
    const Workshop shop("zero_at_times");
    test::change_weights(shop.folder / "model" / "model.safetensors",
                         [](const std::string& name, Matrix<float> weight) {
                             if (name == "model.embed_tokens.weight") std::fill_n(weight.row(5), weight.cols, 0.0f);
                         });
    const Arguments arguments = {"--method",       "fp", "--batch-size", "1", "--eval-split", "0",
                                 "--lora-dropout", "0",  "--save-steps", "0", "--epochs",     "2"};
    const std::string empty = "{\"input_ids\": [5, 5, 6]}\n", example = "{\"input_ids\": [1, 2, 3, 4]}\n";
    small::write_text(shop.folder / "train.jsonl", empty + example + example + example);
    CHECK(shop.run("mixed", arguments)["steps"] == 8);
    int zero = 0;
    for (const nlohmann::json& line : shop.log("mixed")) zero += line["grad_norm"] == 0;
    CHECK(zero == 2);

    small::write_text(shop.folder / "train.jsonl", empty + empty + empty + empty);
    const std::string error = test::error_of([&] { shop.run("empty", arguments); });
    CHECK_THAT(error, ContainsSubstring("step 3: the gradient has been exactly zero since step 1") &&
                          ContainsSubstring("No adapter affects the loss; choose other --target-modules"));
}

TEST_CASE("a run that is stopped without a gradient warns of its checkpoint", "[trainer][destroyed]") {
    const Workshop shop("destroyed_stopped");
    bool stopped = false;
    int64_t first = 0;
    nlohmann::ordered_json result;
    {
        const program::Redirection err(stderr, shop.folder / "stderr.txt");
        result = shop.run("run",
                          {"--learning-rate", "1e10", "--method", "fp", "--max-steps", "20", "--save-steps", "1",
                           "--save-total-limit", "0", "--eval-split", "0"},
                          &stopped, false, [&](int64_t step, int64_t, int64_t) {
                              const std::vector<nlohmann::json> log = shop.log("run");
                              if (!log.empty() && log.back()["grad_norm"] == 0) first = log.back()["step"];
                              if (first > 0 && step == first + 1) raise(SIGTERM);
                          });
    }
    REQUIRE(stopped);
    CHECK(result["steps"] == first + 1);
    const std::string told = small::read_text(shop.folder / "stderr.txt");
    CHECK_THAT(told, ContainsSubstring("the gradient was exactly zero when the run stopped") &&
                         ContainsSubstring(first > 2 ? concat("/run/checkpoint-", first - 2) : "no checkpoint"));
}

TEST_CASE("a loss that rose in training is a warning in the log, not a failure", "[trainer][destroyed]") {
    const Workshop shop("worse");
    const std::string train = (shop.folder / "train.jsonl").string(), other = (shop.folder / "eval.jsonl").string();
    const auto run = [&](const std::string& out, const Arguments& more, const std::string& advice) {
        Arguments arguments = {"--method", "fp", "--max-grad-norm", "0", "--eval-data",    train,
                               "--epochs", "12", "--batch-size",    "8", "--lora-dropout", "0"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        nlohmann::ordered_json result;
        {
            const program::Redirection err(stderr, shop.folder / "stderr.txt");
            result = shop.run(out, arguments);
        }
        const bool worse =
            result["eval_after"]["loss"].get<double>() > result["eval_before"]["loss"].get<double>() + 1e-4;
        const nlohmann::json last = shop.log(out).back();
        REQUIRE(last.contains("eval_loss"));
        CHECK(last.contains("warning") == worse);
        const std::string told = small::read_text(shop.folder / "stderr.txt");
        CHECK((told.find("the loss on the evaluation examples rose from ") != told.npos) == worse);
        if (worse) CHECK_THAT(last["warning"].get<std::string>(), ContainsSubstring(advice));
        return worse;
    };
    CHECK_FALSE(run("better", {}, ""));
    // Labels are random: learning others by heart forgets the first.
    const std::string adapter = (shop.folder / "better" / "adapter").string();
    CHECK(run("worse", {"--data", other, "--adapter", adapter}, " in 12 steps. Lower --learning-rate, or train for "));
    CHECK(run("worse_at_once", {"--data", other, "--adapter", adapter, "--max-steps", "1"},
              " in 1 step. Lower --learning-rate, or train longer"));
}
