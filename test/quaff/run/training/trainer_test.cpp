// Whole runs on a model of two small layers. What they compute does not depend on where they are interrupted.
#include "quaff/run/training/trainer.h"

#include <csignal>

#include "llmc/core/error.h"
#include "quaff/files/checkpoint_folder.h"
#include "quaff/run/evaluate.h"
#include "quaff/run/generate.h"
#include "quaff/run/memory_room.h"
#include "quaff/run/open_model.h"
#include "quaff/run/training/plan.h"
#include "quaff/run/training/training_state.h"
#include "test/catch.h"
#include "test/quaff/workshop.h"

using namespace quaff;
namespace fs = std::filesystem;

TEST_CASE("a resumed run leaves the same adapter, byte for byte", "[trainer]") {
    const Workshop shop("resume");
    // Dropout, moving scales, accumulation and several epochs: everything that has a state.
    const std::vector<std::string> more = {"--batch-size",   "3",  "--gradient-accumulation-steps", "2",
                                           "--weight-decay", "0.1"};
    const auto with = [&](std::vector<std::string> extra) {
        extra.insert(extra.end(), more.begin(), more.end());
        return extra;
    };
    shop.run("whole", with({"--max-steps", "10", "--save-steps", "0"}));
    const std::string expected = shop.adapter("whole");
    REQUIRE(expected.size() > 1000);

    SECTION("six steps, then four more") {
        shop.run("parts", with({"--max-steps", "6"}));
        CHECK(shop.adapter("parts") != expected);
        shop.run("parts", {"--resume", "--max-steps", "10"});
        CHECK(shop.adapter("parts") == expected);
        std::vector<int64_t> steps;
        for (const auto& line : shop.log("parts"))
            if (line.contains("loss")) steps.push_back(line["step"]);
        CHECK(steps == std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
        // Resumed once more there is nothing left to do: the last evaluation is made again, but logged once.
        const auto before = shop.log("parts");
        shop.run("parts", {"--resume"});
        CHECK(shop.adapter("parts") == expected);
        CHECK(shop.log("parts") == before);
        CHECK(before.front()["step"] == 0);
        CHECK(before.back().contains("eval_loss"));
        // A run that took no step reports that instead of a speed.
        const std::string told = small::read_text(shop.folder / "terminal.txt");
        CHECK(told.find("10 steps, all taken before: there was nothing left to do, peak memory ") != std::string::npos);
        CHECK(told.find(" 0 tokens/s") == std::string::npos);
    }
    SECTION("the newest checkpoint is damaged: the one before is used") {
        shop.run("torn", with({"--max-steps", "6", "--save-steps", "2"}));
        fs::resize_file(shop.folder / "torn" / "checkpoint-6" / "state.safetensors", 100);
        CHECK_THROWS_AS(shop.run("torn", {"--resume", (shop.folder / "torn" / "checkpoint-6").string()}), llmc::Error);
        shop.run("torn", {"--resume", "--max-steps", "10"});
        CHECK(shop.adapter("torn") == expected);
    }
    SECTION("stopped by a signal in the middle of a window: its step is not taken") {
        const auto signal = [](int64_t step, int64_t done, int64_t count) {
            if (step == 6 && done == 1 && count == 2) raise(SIGTERM);
        };
        bool stopped = false;
        const auto result = shop.run("stopped", with({"--max-steps", "10"}), &stopped, false, signal);
        REQUIRE(stopped);
        CHECK(result["steps"] == 5);
        shop.run("stopped", {"--resume"});
        CHECK(shop.adapter("stopped") == expected);
    }
    SECTION("stopped by a signal between two windows: the step is taken") {
        const auto signal = [](int64_t step, int64_t done, int64_t count) {
            if (step == 6 && done == 2 && count == 2) raise(SIGTERM);
        };
        bool stopped = false;
        const auto result = shop.run("stopped", with({"--max-steps", "10"}), &stopped, false, signal);
        REQUIRE(stopped);
        CHECK(result["steps"] == 6);
        shop.run("stopped", {"--resume"});
        CHECK(shop.adapter("stopped") == expected);
    }
    SECTION("from an older checkpoint: the later ones are set aside, not mistaken for the new ones") {
        const auto limited = with({"--max-steps", "8", "--save-steps", "2", "--save-total-limit", "3"});
        shop.run("branch", limited);
        const std::string from = (shop.folder / "branch" / "checkpoint-4").string() + "/";
        bool stopped = false;
        const auto signal = [](int64_t step, int64_t done, int64_t) {
            if (step == 6 && done == 1) raise(SIGTERM);
        };
        shop.run("branch", {"--resume", from}, &stopped, false, signal);
        REQUIRE(stopped);
        REQUIRE(list_checkpoints(shop.folder / "branch").size() == 2);
        CHECK(list_checkpoints(shop.folder / "branch")[0].filename() == "checkpoint-5");
        CHECK(list_checkpoints(shop.folder / "branch" / "earlier").size() == 2);
        CHECK(fs::exists(shop.folder / "branch" / "earlier" / "adapter"));
        shop.run("branch", {"--resume", "--max-steps", "10"});
        CHECK(shop.adapter("branch") == expected);
    }
    SECTION("in another folder, from the run that --resume names") {
        shop.run("first", with({"--max-steps", "6"}));
        const std::string first = shop.adapter("first");
        shop.run("second", with({"--max-steps", "1", "--seed", "5"}));
        shop.run("second", {"--resume", (shop.folder / "first").string(), "--max-steps", "10"});
        CHECK(shop.adapter("second") == expected);
        CHECK(shop.adapter("first") == first);
        CHECK(list_checkpoints(shop.folder / "second" / "earlier").size() == 1);
        CHECK(shop.log("second").front()["step"] == 0);
        CHECK(fs::exists(shop.folder / "second" / "outliers.json"));
    }
    SECTION("stopped before the first step") {
        bool stopped = false;
        shop.run("calibrated", with({"--max-steps", "1", "--save-steps", "0"}));
        const std::string outliers = (shop.folder / "calibrated" / "outliers.json").string();
        const auto result = shop.run("early", with({"--max-steps", "10", "--eval-split", "0", "--outliers", outliers}),
                                     &stopped, /*stop_at_once=*/true);
        CHECK(stopped);
        CHECK(result["steps"] == 0);
        CHECK(shop.log("early").empty());
        shop.run("early", {"--resume"});
        shop.run("undisturbed", with({"--max-steps", "10", "--eval-split", "0", "--outliers", outliers}));
        CHECK(shop.adapter("early") == shop.adapter("undisturbed"));
    }
}

TEST_CASE("a run stopped in its first step keeps its first evaluation in the log", "[trainer]") {
    const Workshop shop("step_0");
    bool stopped = false;
    shop.run("run", {"--max-steps", "2", "--batch-size", "3", "--gradient-accumulation-steps", "2"}, &stopped, false,
             [](int64_t step, int64_t done, int64_t) {
                 if (step == 1 && done == 1) raise(SIGTERM);
             });
    REQUIRE(stopped);
    REQUIRE(shop.log("run").size() == 1);
    shop.run("run", {"--resume"});
    const auto log = shop.log("run");
    REQUIRE(log.size() == 4);  // before, two steps, after
    CHECK(log[0].contains("eval_loss"));
    CHECK(log[0]["step"] == 0);
    CHECK(log[3].contains("eval_loss"));
}

TEST_CASE("two runs do not write into one folder", "[trainer]") {
    const Workshop shop("two");
    std::string refusal;
    shop.run("run", {"--max-steps", "2", "--save-steps", "1"}, nullptr, false, [&](int64_t step, int64_t, int64_t) {
        if (step != 2) return;
        for (const std::vector<std::string>& more : {std::vector<std::string>{"--max-steps", "1"}, {"--resume"}}) {
            try {
                shop.run("run", more);
            } catch (const llmc::Error& error) {
                refusal = error.what();
            }
            CHECK(refusal.starts_with((shop.folder / "run").string() + ": another run (process "));
            refusal.clear();
        }
    });
    CHECK_FALSE(fs::exists(shop.folder / "run" / "earlier"));
    CHECK(list_checkpoints(shop.folder / "run").size() == 2);
    shop.run("run", {"--resume", "--max-steps", "3"});  // no other run has the folder now
    CHECK_THROWS_AS(shop.run("mistyped", {"--resume"}), llmc::Error);
    CHECK_FALSE(fs::exists(shop.folder / "mistyped"));
}

TEST_CASE("--resume refuses what would make it another run, by name", "[trainer]") {
    const Workshop shop("refuse");
    shop.run("run", {"--max-steps", "2", "--lr-scheduler", "linear"});
    const auto complaint = [&](const std::vector<std::string>& more) -> std::string {
        try {
            shop.run("run", more);
        } catch (const llmc::Error& error) {
            return error.what();
        }
        return "";
    };
    CHECK(complaint({"--resume", "--lora-alpha", "32"}).find("--lora-alpha was '16' and is now '32'") !=
          std::string::npos);
    CHECK(complaint({"--resume", "--seed", "1"}).find("--seed") != std::string::npos);
    CHECK(complaint({"--resume", "--max-steps", "4"}).find("--max-steps") != std::string::npos);
    small::write_examples(shop.folder / "other.jsonl", 21, 9);
    CHECK(complaint({"--resume", "--data", (shop.folder / "other.jsonl").string()}).find("--data") !=
          std::string::npos);
    CHECK(complaint({"--resume", "--save-steps", "7"}).empty());
}

TEST_CASE("a resumed run that is evaluated on other examples says so", "[trainer]") {
    TrainingState before, now;
    before.eval_data = "a";
    now.eval_data = "b";
    CHECK_THAT(differences(before, now).at(0), Catch::Matchers::StartsWith("the examples of --eval-data are others"));
    before.eval_data = "";  // an older checkpoint does not say
    CHECK(differences(before, now).empty());
    before.ranks = 2;
    now.window = 3;
    CHECK(differences(before, now) == std::vector<std::string>{"the run had 2 ranks and continues with 1: a step still "
                                                               "takes 3 micro-batches, up to 3 on each rank"});
}

TEST_CASE("a step over several micro-batches is the step over one large one", "[trainer]") {
    const Workshop shop("accumulate");
    small::write_examples(shop.folder / "train.jsonl", 4, 3);
    const std::vector<std::string> more = {"--max-steps",    "1", "--method",     "fp",
                                           "--lora-dropout", "0", "--eval-split", "0"};
    const auto step = [&](const std::string& out, const std::string& batch, const std::string& accumulation) {
        std::vector<std::string> all = more;
        all.insert(all.end(), {"--batch-size", batch, "--gradient-accumulation-steps", accumulation});
        shop.run(out, all);
        return shop.log(out).at(0);
    };
    const nlohmann::json large = step("large", "4", "1"), small = step("small", "1", "4");
    CHECK(small["labelled_tokens"] == large["labelled_tokens"]);
    CHECK(small["tokens"] == large["tokens"]);
    // The same sums in another order: some 30 losses and gradients of 1e-7 relative error each.
    CHECK(small["loss"].get<double>() == Approx(large["loss"].get<double>()).epsilon(1e-6));
    CHECK(small["grad_norm"].get<double>() == Approx(large["grad_norm"].get<double>()).epsilon(1e-5));
}

TEST_CASE("the log has the documented fields and the schedule's learning rates", "[trainer]") {
    const Workshop shop("log");
    const auto result = shop.run("run", {"--max-steps", "5", "--lr-scheduler", "linear", "--warmup-ratio", "0.2",
                                         "--eval-data", (shop.folder / "eval.jsonl").string(), "--eval-steps", "2"});
    std::vector<nlohmann::json> steps, evaluations;
    for (const auto& line : shop.log("run")) (line.contains("eval_loss") ? evaluations : steps).push_back(line);
    REQUIRE(steps.size() == 5);
    const double peak = 0.01, factors[] = {0, 1, 0.75, 0.5, 0.25};
    for (size_t i = 0; i < 5; ++i) {
        for (const char* field : {"step", "epoch", "loss", "grad_norm", "learning_rate", "tokens", "labelled_tokens",
                                  "step_seconds", "tokens_per_second", "sol", "peak_memory_bytes"})
            CHECK(steps[i].at(field).is_number());
        CHECK(steps[i]["learning_rate"].get<double>() == Approx(peak * factors[i]));
        CHECK(steps[i]["sol"].get<double>() > 0);
    }
    REQUIRE(evaluations.size() == 4);  // before, at steps 2 and 4, after
    CHECK(evaluations[0]["step"] == 0);
    CHECK(evaluations[3]["step"] == 5);
    CHECK(evaluations[0]["eval_loss"].get<double>() == Approx(result["eval_before"]["loss"].get<double>()));
    CHECK(evaluations[3]["eval_loss"].get<double>() == Approx(result["eval_after"]["loss"].get<double>()));
    CHECK(result["steps"] == 5);
    CHECK(fs::exists(result["adapter"].get<std::string>() + "/adapter_config.json"));
    CHECK(list_checkpoints(shop.folder / "run").size() == 1);
}

TEST_CASE("training lowers the loss on its own examples, in 8 bits and in full precision", "[trainer]") {
    const Workshop shop("learn");
    for (const std::string method : {"quaff", "fp"}) {
        const auto result =
            shop.run(method, {"--method", method, "--epochs", "12", "--batch-size", "8", "--max-grad-norm", "0",
                              "--eval-data", (shop.folder / "train.jsonl").string(), "--lora-dropout", "0"});
        // Random labels: from ln 48 and more towards what four ranks can remember.
        CHECK(result["eval_after"]["loss"].get<double>() < 0.7 * result["eval_before"]["loss"].get<double>());
    }
}

TEST_CASE("a run that diverges stops and names the step and the remedy", "[trainer]") {
    const Workshop shop("diverge");
    try {
        shop.run("run", {"--max-steps", "20", "--learning-rate", "1e38", "--method", "fp", "--max-grad-norm", "0"});
        FAIL("the run should have stopped");
    } catch (const llmc::Error& error) {
        const std::string message = error.what();
        CHECK(message.find("step ") != std::string::npos);
        CHECK(message.find("--learning-rate") != std::string::npos);
    }
}

TEST_CASE("exact match by one pass is greedy decoding compared token for token", "[evaluate]") {
    const Workshop shop("exact");
    const Options options = shop.options("run", {"--method", "fp", "--eval-split", "0"});
    std::FILE* sink = std::fopen("/dev/null", "w");
    Terminal terminal(sink, true);
    const ModelFiles files = open_model(options, terminal);
    cpu::Device device;
    const StartingPoint start;
    BatchLimits limits;
    limits.max_tokens = 64;
    limits.max_sequence_length = 32;
    limits.max_labelled = 64;
    const auto model = build_model(
        files, device, start, build_options(options, start, limits, /*training=*/false, device.available_memory()));

    Dataset data;
    const std::vector<std::vector<int32_t>> prompts = {{1, 5, 9}, {7}, {3, 3, 3, 3}};
    for (const auto& prompt : prompts) {
        const auto answer = generate(*model, prompt, 6, {}, {}, 0, [](int32_t) { return true; });
        REQUIRE(answer.size() == 6);
        Example example;
        example.input_ids = prompt;
        example.labels.assign(prompt.size(), kIgnoreLabel);
        example.input_ids.insert(example.input_ids.end(), answer.begin(), answer.end());
        example.labels.insert(example.labels.end(), answer.begin(), answer.end());
        data.examples.push_back(example);
    }
    const auto run = [&] { return evaluate(*model, data, {{0, 1}, {2}}, true, [](int64_t, int64_t) {}); };
    CHECK(run().exact == 3);
    CHECK(run().correct == 18);
    data.examples[1].labels.back() = (data.examples[1].labels.back() + 1) % small::kVocabulary;
    CHECK(run().exact == 2);
    CHECK(run().correct == 17);
    // Sum over all tokens / their number, however they are batched.
    const Evaluation apart = evaluate(*model, data, {{0}, {1}, {2}}, false, [](int64_t, int64_t) {});
    CHECK(apart.loss() == Approx(run().loss()).epsilon(1e-6));
    CHECK(apart.examples == 3);
    CHECK_FALSE(apart.exact.has_value());
    std::fclose(sink);
}

TEST_CASE("an adapter is evaluated as it was trained, from its folder alone", "[trainer]") {
    const Workshop shop("adapter");
    const std::string eval_data = (shop.folder / "eval.jsonl").string();
    for (const std::string method : {"quaff", "fp"}) {
        const auto result = shop.run(method, {"--method", method, "--max-steps", "8", "--eval-data", eval_data});
        const Options options = cli::parse({"eval", "--model", (shop.folder / "model").string(), "--data", eval_data,
                                            "--adapter", (shop.folder / method / "adapter").string()})
                                    .options;
        std::FILE* sink = std::fopen("/dev/null", "w");
        Terminal terminal(sink, true);
        const ModelFiles files = open_model(options, terminal);
        const ExampleReader reader(options, files.config(), terminal);
        const Dataset data = reader.read(options.data.files);
        const auto batches = sequential_batches(data.examples, 2);
        cpu::Device device;
        const StartingPoint start = starting_point(options, files, options.model.adapter, terminal);
        CHECK(start.calibration == Calibration::none);
        CHECK(name_of(start.method) == method);
        const auto model = build_model(
            files, device, start,
            build_options(options, start, batch_limits(data.examples, batches), false, device.available_memory()));
        const Evaluation evaluation = evaluate(*model, data, batches, false, [](int64_t, int64_t) {});
        std::fclose(sink);
        // The same numbers in other micro-batches: fp32 sums in another order.
        CHECK(evaluation.loss() == Approx(result["eval_after"]["loss"].get<double>()).epsilon(1e-5));
        CHECK(evaluation.loss() != Approx(result["eval_before"]["loss"].get<double>()).epsilon(1e-3));
    }
}

TEST_CASE("--plan adds up what the run then takes", "[trainer]") {
    const Workshop shop("plan");
    const Options options = shop.options("run", {"--plan"});
    std::FILE* sink = std::fopen((shop.folder / "plan.txt").c_str(), "w");
    Terminal terminal(sink, false);
    cpu::Device device;
    const auto memory = plan(options, terminal, device);
    std::fclose(sink);
    int64_t total = 0;
    for (const auto& [kind, bytes] : memory["bytes"].items()) total += bytes.get<int64_t>();
    CHECK(memory["total_bytes"] == total);
    CHECK(total > 0);
    CHECK(small::read_text(shop.folder / "plan.txt").find("total") != std::string::npos);
    CHECK_FALSE(fs::exists(shop.folder / "run"));
}
