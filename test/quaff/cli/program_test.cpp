// The program as a user meets it. The file of its main() is compiled into this test under another name, so that every
// line between the shell and the model runs. program_training_test.cpp looks at training runs.
#include <poll.h>
#include <sys/stat.h>

#include <thread>

// What train_quaff.cu includes is included before its main() is renamed.
#include "llmc/core/error.h"
#include "quaff/cli/device_choice.h"
#include "quaff/cli/parsing.h"
#include "quaff/cli/verbs.h"
#include "quaff/model/devices.h"
#include "test/quaff/program.h"

#define main train_quaff_main
#include "train_quaff.cu"
#undef main

using namespace program;

TEST_CASE("the exit status is 0 when done, 1 when failed, 2 for wrong usage", "[program]") {
    const Desk desk;
    const Ending help = desk.run({"--help"});
    CHECK(help.status == 0);
    CHECK(mentions(help.out, "--learning-rate"));
    CHECK(help.err.empty());

    const Ending mistyped = desk.run("eval", {"--bach-size", "3"});
    CHECK(mistyped.status == 2);
    CHECK(mentions(mistyped.err, "did you mean --batch-size?"));
    CHECK(mistyped.out.empty());
    CHECK(mentions(desk.run({"evla"}).err, "did you mean eval?"));
    CHECK(desk.run({"evla"}).status == 2);
    CHECK(desk.run("eval", {"--batch-size", "0"}).status == 2);
    CHECK(desk.run("eval", {"--device", "cpu", "--dtype", "fp16"}).status == 2);

    const Ending lost = desk.run({"eval", "--model", desk.model, "--data", desk.folder / "no_such.jsonl", "--json"});
    CHECK(lost.status == 1);
    CHECK(mentions(lost.err, "no_such.jsonl"));
    CHECK(lost.out.empty());
    const Ending wordless = desk.run({"generate", "--model", desk.model, "--prompt", "Hello"});
    CHECK(wordless.status == 1);
    CHECK(mentions(wordless.err, "tokenizer"));
    const Ending foreign = desk.run("eval", {"--adapter", golden::directory("phi3") / "adapter"});
    CHECK(foreign.status == 1);
    CHECK(mentions(foreign.err, "adapter"));
    CHECK(desk.files() == std::set<std::string>{desk.data});
}

// Golden numbers: both sides sum in fp32 in different orders, as in golden_fp_test.cpp.
TEST_CASE("eval prints the loss that transformers and PEFT give", "[program][golden]") {
    const Desk desk;
    const Ending ending = desk.run("eval", {"--method", "fp", "--adapter", desk.adapter});
    REQUIRE(ending.status == 0);
    const json result = ending.object();
    CHECK(keys(result) == kEvaluationKeys);
    const double loss = result["loss"];
    CHECK(loss == Approx(desk.numbers["losses"][0].get<double>()).epsilon(1e-5));
    CHECK(result["perplexity"].get<double>() == Approx(std::exp(loss)).epsilon(1e-7));
    CHECK(result["labelled_tokens"] == desk.numbers["batches"][0]["labelled"]);
    CHECK(result["examples"] == 3);
    const double right = result["token_accuracy"].get<double>() * result["labelled_tokens"].get<double>();
    CHECK(right == Approx(std::round(right)).margin(1e-6));  // a share of a whole number of tokens

    const json apart = desk.run("eval", {"--method", "fp", "--adapter", desk.adapter, "--batch-size", "1"}).object();
    CHECK(apart["loss"].get<double>() == Approx(loss).epsilon(1e-6));  // the same sum in another order

    const std::string merged = desk.folder / "merged";
    REQUIRE(desk.run({"merge", "--model", desk.model, "--adapter", desk.adapter, "--out", merged}).status == 0);
    const json folded = desk.run({"eval", "--model", merged, "--data", desk.data, "--json"}).object();
    CHECK(folded["loss"].get<double>() == Approx(loss).epsilon(1e-5));  // W + BA rounded to fp32 once more
}

TEST_CASE("eval --reference measures the divergence from full precision, and its plan counts both models",
          "[program]") {
    const Desk desk;
    const std::vector<std::string> options = {"--method", "quaff", "--cal-data", desk.data, "--adapter", desk.adapter};
    const auto run = [&](std::vector<std::string> more) {
        more.insert(more.begin(), options.begin(), options.end());
        const Ending ending = desk.run("eval", more);
        INFO(ending.err);
        REQUIRE(ending.status == 0);
        return ending;
    };
    const Ending with = run({"--reference"});
    json result = with.object();
    const double kl = result["kl_to_fp"];
    CHECK(kl > 0);
    CHECK(kl < 0.1);  // int8 changes the model little
    CHECK(mentions(with.err, llmc::format(", KL to fp %.3ge-3", 1e3 * kl)));
    result.erase("kl_to_fp");
    CHECK(result == run({}).object());
    const double apart = run({"--reference", "--batch-size", "1"}).object()["kl_to_fp"];
    CHECK(apart == Approx(kl).epsilon(1e-4));  // the same sum in another order

    const Ending full = desk.run("eval", {"--method", "fp", "--adapter", desk.adapter, "--reference"});
    CHECK(full.object()["kl_to_fp"] == 0);
    CHECK(mentions(full.err, ", KL to fp 0 (fp, "));

    const auto planned = [&](const std::string& method, const std::vector<std::string>& more) {
        std::vector<std::string> arguments = {"--method", method, "--plan"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return desk.run("eval", arguments).object()["total_bytes"].get<int64_t>();
    };
    CHECK(planned("quaff", {"--reference"}) == planned("quaff", {}) + planned("fp", {}));
    CHECK(planned("fp", {"--reference"}) == planned("fp", {}));
    CHECK(desk.files() == std::set<std::string>{desk.data});
}

// As save_pretrained leaves it; transformers and PEFT would load both (golden_fp_test.cpp has their losses).
TEST_CASE("an adapter in the model's folder is used when asked for, and never passed over", "[program][golden]") {
    const Desk desk;
    const std::string both = desk.folder / "both";
    fs::copy(desk.model, both);
    for (const char* name : {"adapter_config.json", "adapter_model.safetensors"})
        fs::copy(fs::path(desk.adapter) / name, fs::path(both) / name);
    const auto arguments = [&](const std::string& verb) {
        return std::vector<std::string>{verb, "--model", both, "--data", desk.data, "--json"};
    };
    for (std::vector<std::string> refused :
         {arguments("eval"), {"generate", "--model", both, "--prompt", "Hello"}, arguments("train")}) {
        INFO(refused[0]);
        if (refused[0] == "train") refused.insert(refused.end(), {"--out", desk.out});
        const Ending ending = desk.run(refused);
        CHECK(ending.status == 1);
        CHECK(mentions(ending.err, both +
                                       " holds an adapter (adapter_config.json) beside the model's weights: give "
                                       "--adapter " +
                                       both + " to use both"));
        CHECK_FALSE(fs::exists(fs::path(desk.out) / "adapter"));
    }
    std::vector<std::string> with_adapter = arguments("eval");
    with_adapter.insert(with_adapter.end(), {"--method", "fp", "--adapter", both});
    CHECK(desk.run(with_adapter).object()["loss"].get<double>() ==
          Approx(desk.numbers["losses"][0].get<double>()).epsilon(1e-5));

    const std::string merged = desk.folder / "merged";
    REQUIRE(desk.run({"merge", "--model", both, "--adapter", both, "--out", merged}).status == 0);
    const json folded = desk.run({"eval", "--model", merged, "--data", desk.data, "--json"}).object();
    CHECK(folded["loss"].get<double>() == Approx(desk.numbers["losses"][0].get<double>()).epsilon(1e-5));
}

TEST_CASE("settings of a model's config that are ignored are reported once", "[program]") {
    const Desk desk;
    const std::string model = desk.folder / "model";
    fs::copy(desk.model, model);
    json config = llmc::read_json(fs::path(model) / "config.json");
    config["eos_token_id"] = 1000000;
    std::ofstream(fs::path(model) / "config.json") << config.dump();
    const Ending ending = desk.run({"eval", "--model", model, "--data", desk.data, "--json"});
    CHECK(ending.status == 0);
    const size_t first = ending.err.find("\"eos_token_id\" holds 1000000");
    REQUIRE(first != std::string::npos);
    CHECK(ending.err.find("\"eos_token_id\" holds", first + 1) == std::string::npos);
}

TEST_CASE("calibrate prints the file it writes, and training takes it", "[program]") {
    const Desk desk;
    const std::string outliers = desk.folder / "outliers.json";
    const Ending ending = desk.run("calibrate", {"--outliers", outliers, "--outlier-max-ratio", "0.1"});
    INFO(ending.err);
    REQUIRE(ending.status == 0);
    const json object = ending.object();
    CHECK(object == llmc::read_json(outliers));
    CHECK(desk.files() == std::set<std::string>{desk.data, outliers});
    int64_t channels = 0;
    for (const json& list : object["channels"]) channels += static_cast<int64_t>(list.size());
    CHECK(channels > 0);  // the golden model has outliers by construction

    // Again into the same file, but not over another one.
    CHECK(desk.run("calibrate", {"--outliers", outliers, "--outlier-max-ratio", "0.1"}).status == 0);
    const std::string data = test::read(desk.data);
    const Ending refused = desk.run("calibrate", {"--outliers", desk.data, "--outlier-max-ratio", "0.1"});
    CHECK(refused.status == 2);
    CHECK_THAT(refused.err, Catch::Matchers::ContainsSubstring("is not an outlier file"));
    CHECK(test::read(desk.data) == data);

    const Ending trained = desk.run("train", {"--outliers", outliers, "--max-steps", "1", "--lora-r", "2",
                                              "--eval-data", desk.data, "--out", desk.out});
    INFO(trained.err);
    REQUIRE(trained.status == 0);
    const json state = llmc::read_json(fs::path(trained.object()["adapter"]) / "quaff.json");
    CHECK(state["method"] == "quaff");
    CHECK(state["outliers"]["channels"] == object["channels"]);
}

TEST_CASE("calibration finds the channels that were planted in the demo's model", "[program][demo]") {
    const Desk desk;
    const json planted = llmc::read_json("dev/demo/planted.json");
    const auto found = [&](const std::string& strategy) {
        return desk
            .run({"calibrate", "--outlier-strategy", strategy, "--max-cal-samples", "64", "--outliers",
                  desk.folder / strategy, "--json"})
            .object()["channels"];
    };
    CHECK(found("mean_times") == planted);  // the paper's threshold, 100: these and no others
    const json token_max = found("token_max");
    for (const auto& [module, channels] : planted.items()) {
        INFO(module);
        const std::vector<int> all = token_max[module], wanted = channels;
        CHECK(std::ranges::includes(all, wanted));
    }
}

TEST_CASE("a prompt that cannot be answered is named before anything is generated", "[program]") {
    const Desk desk;
    const Ending empty = desk.run({"generate", "--prompt", ""});  // the demo's tokenizer adds no BOS
    CHECK(empty.status == 1);
    CHECK(mentions(empty.err, "--prompt: the prompt is empty"));
    CHECK(empty.out.empty());

    const std::string bytes = desk.folder.write("bytes.txt", "one\n\n\xFF\n");
    CHECK(mentions(desk.run({"generate", "--prompt-file", bytes}).err, bytes + ":3: "));
    std::string long_line;
    for (int i = 0; i < 20000; ++i) long_line += "word ";
    const std::string lengthy = desk.folder.write("long.txt", "\n" + long_line);
    CHECK(mentions(desk.run({"generate", "--prompt-file", lengthy}).err, lengthy + ":2: the prompt has "));
    const std::string blank = desk.folder.write("blank.txt", "\n \n");
    CHECK(mentions(desk.run({"generate", "--prompt-file", blank}).err, blank + ": holds no prompt"));
}

TEST_CASE("the empty text has no tokens", "[program]") {
    const Desk desk;
    for (const std::vector<std::string>& text : {std::vector<std::string>{"--text", ""}, {"--text="}}) {
        std::vector<std::string> arguments = {"tokenize"};
        arguments.insert(arguments.end(), text.begin(), text.end());
        const Ending ending = desk.run(arguments);
        CHECK(ending.status == 0);
        CHECK(ending.out == "[]\n");
        CHECK(ending.err.empty());
    }
}

TEST_CASE("blank lines of a prompt file are skipped", "[program]") {
    const Desk desk;
    const std::string prompts = desk.folder.write("prompts.txt", "one\n\n \t\r\nthree\n");
    const json results =
        desk.run({"generate", "--prompt-file", prompts, "--max-new-tokens", "1", "--json"}).object()["results"];
    REQUIRE(results.size() == 2);
    CHECK(results[0]["prompt"] == "one");
    CHECK(results[1]["prompt"] == "three");
}

TEST_CASE("a model that has nothing to say is noticed", "[program]") {
    const Desk desk;
    const auto answer = [&](const std::string& model, const std::string& template_name) {
        return desk.run({"generate", "--model", model, "--prompt", "Spell ", "--max-new-tokens", "1", "--template",
                         template_name, "--json"});
    };
    const fs::path mute = desk.folder / "mute";
    fs::copy("dev/demo/model", mute);
    fs::remove(mute / "generation_config.json");  // its end of sequence would go before config.json's
    json config = llmc::read_json(mute / "config.json");
    const char* hint = "the model ended its answer at once; does it want a chat template (--template)?";
    for (const std::string name : {"none", "chatml"}) {
        const Ending speaks = answer("dev/demo/model", name);
        CHECK_FALSE(mentions(speaks.err, hint));
        config["eos_token_id"] = speaks.object()["ids"][0];
        desk.folder.write("mute/config.json", config.dump());
        const Ending ends = answer(mute, name);
        CHECK(ends.status == 0);
        CHECK(ends.object()["new_tokens"] == 0);
        CHECK(mentions(ends.err, hint) == (name == "none"));
    }
}

TEST_CASE("eval with a training run's config.toml evaluates its evaluation data", "[program]") {
    const Desk desk;
    const std::string other = desk.folder.write("train.jsonl", R"({"input_ids": [1, 2, 3, 4, 5]})");
    const std::string config = desk.folder.write(
        "config.toml", "model = \"" + desk.model + "\"\ndata = \"" + other + "\"\neval_data = \"" + desk.data + "\"\n");
    const Ending ending = desk.run({"eval", "--config", config, "--json"});
    INFO(ending.err);
    REQUIRE(ending.status == 0);
    CHECK(ending.object()["examples"] == 3);
}

TEST_CASE("what cannot be written to stdout makes the run a failed one", "[program]") {
    const Desk desk;
    const std::vector<std::string> generate = {"generate", "--prompt", "Spell ", "--max-new-tokens", "100"};
    for (const std::string json : {"", "--json"}) {
        std::vector<std::string> arguments = generate;
        if (!json.empty()) arguments.push_back(json);
        const Ending full = desk.run(arguments, "/dev/full");
        CHECK(full.status == 1);
        CHECK(mentions(full.err, "standard output: cannot write: No space left on device"));
    }
    // A reader that goes away early, as `| head -1` does, is no failure and needs no message.
    const fs::path pipe = desk.folder / "pipe";
    REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
    REQUIRE(reader >= 0);
    std::thread head([&] {
        pollfd event{reader, POLLIN, 0};
        ::poll(&event, 1, 60000);
        ::close(reader);
    });
    const Ending left = desk.run(generate, pipe);
    head.join();
    CHECK(left.status == 0);
    CHECK(left.err == desk.run(generate).err);  // the same call may name the device it takes
}

#ifdef LLMC_EMULATED

TEST_CASE("--device cuda trains the golden step on the GPU, in every type", "[program][cuda][golden]") {
    const Desk desk;
    emu::machine().devices = 1;
    const double golden_loss = desk.numbers["losses"][0];
    for (const auto& [dtype, bound] : {std::pair("fp32", 1e-5), std::pair("bf16", 0.01), std::pair("fp16", 0.001)}) {
        CAPTURE(dtype);
        const Ending ending = desk.train_golden({"--device", "cuda", "--dtype", dtype, "--max-steps", "2"});
        INFO(ending.err);
        REQUIRE(ending.status == 0);
        const json result = ending.object();
        CHECK(result["eval_before"]["loss"].get<double>() == Approx(golden_loss).epsilon(bound));
        CHECK(result["eval_after"]["loss"].get<double>() < result["eval_before"]["loss"].get<double>());
        // The CPU evaluates what the GPU trained.
        const json again = desk.run("eval", {"--device", "cpu", "--adapter", result["adapter"]}).object();
        CHECK(again["loss"].get<double>() == Approx(result["eval_after"]["loss"].get<double>()).epsilon(bound));
    }
    const Ending table = desk.run("train", {"--device", "cuda", "--plan", "--out", desk.out});
    CHECK(table.status == 0);
    CHECK(mentions(table.err, "bf16["));  // auto: compute capability 8.0 has it
    CHECK_FALSE(mentions(table.err, "would not start"));
}

TEST_CASE("a plan that is too large says so, and the run does not start", "[program][cuda]") {
    const Desk desk;
    emu::machine().devices = 1;
    emu::machine().memory = static_cast<size_t>(cuda::BlasLt::kWorkspaceBytes) + (64 << 10);  // enough to begin with
    const std::vector<std::string> arguments = {"--device", "cuda",  "--dtype", "fp32",        "--method",
                                                "fp",       "--out", desk.out,  "--eval-data", desk.data};
    std::vector<std::string> planning = arguments;
    planning.push_back("--plan");
    const Ending table = desk.run("train", planning);
    INFO(table.err);
    CHECK(table.status == 0);
    CHECK(mentions(table.err, "this run would not start: the run needs "));
    const Ending refused = desk.run("train", arguments);
    CHECK(refused.status == 1);
    CHECK(mentions(refused.err, "out of memory"));
}

TEST_CASE("a GPU that cannot be used is named as the reason, and auto goes on without it", "[program][cuda]") {
    const Desk desk;
    const Ending none = desk.run("eval", {"--device", "cuda"});
    CHECK(none.status == 1);
    CHECK(mentions(none.err, "no NVIDIA GPU is visible"));
    const Ending fallen_back = desk.run("eval", {"--method", "fp"});
    CHECK(fallen_back.status == 0);
    CHECK(mentions(fallen_back.err, "on the CPU, because no NVIDIA GPU is visible"));

    emu::machine().devices = 1;
    emu::machine().major = 7;
    emu::machine().minor = 0;
    const Ending old = desk.run("eval", {"--device", "cuda"});
    CHECK(old.status == 1);
    CHECK(mentions(old.err, "compute capability 7.0"));
    emu::machine().minor = 5;
    const Ending turing = desk.run("eval", {"--device", "cuda", "--dtype", "bf16"});
    CHECK(turing.status == 1);
    CHECK(mentions(turing.err, "--dtype fp16"));
}

#endif
