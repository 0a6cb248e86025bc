// The program as a user meets it: arguments in, exit status, stdout and stderr out. The file of its main() is compiled
// into this test under another name, so that every line between the shell and the model runs.
#include <fcntl.h>
#include <omp.h>
#include <poll.h>
#include <stdio_ext.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <thread>

// What train_quaff.cu includes is included before its main() is renamed.
#include "llmc/error.h"
#include "quaff/options.h"
#include "quaff/verbs.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/golden.h"

#ifdef LLMC_EMULATED
#include "test/emu/emulator.h"
#endif

int train_quaff_main(int argc, char** argv);
#define main train_quaff_main
#include "train_quaff.cu"
#undef main

namespace {

using golden::json;
namespace fs = std::filesystem;

// Sends a descriptor into a file for as long as it lives.
class Redirection {
  public:
    Redirection(std::FILE* stream, const fs::path& path) : stream_(stream), saved_(::dup(::fileno(stream))) {
        std::fflush(stream_);
        const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        REQUIRE(file >= 0);
        ::dup2(file, ::fileno(stream_));
        ::close(file);
    }
    ~Redirection() {
        std::fflush(stream_);
        __fpurge(stream_);  // what could not be written is not for the next one to write
        std::clearerr(stream_);
        ::dup2(saved_, ::fileno(stream_));
        ::close(saved_);
    }
    Redirection(const Redirection&) = delete;
    Redirection& operator=(const Redirection&) = delete;

  private:
    std::FILE* stream_;
    int saved_;
};

struct Ending {
    int status;
    std::string out, err;

    // The one JSON object that --json leaves on stdout.
    json object() const {
        INFO(err);
        REQUIRE(std::count(out.begin(), out.end(), '\n') == 1);
        return json::parse(out);
    }
};

// The golden LLaMA, the batch of its first golden step as a data file, and a place to write to.
struct Desk {
    test::TempDir folder, streams;
    fs::path golden_case = golden::directory("llama_gqa");
    json numbers = llmc::read_json(golden_case / "golden.json");
    std::string model = (golden_case / "model").string(), adapter = (golden_case / "adapter").string();
    std::string data, out = folder / "run";

    // On a machine without a GPU, unless a test says otherwise.
    Desk() {
#ifdef LLMC_EMULATED
        emu::machine().devices = 0;
#endif
        const json& batch = numbers["batches"][0];
        const std::vector<int> ids = batch["input_ids"], labels = batch["labels"], ends = batch["cu_seqlens"];
        std::string lines;
        for (size_t s = 0; s + 1 < ends.size(); s++) {
            const auto part = [&](const std::vector<int>& all) {
                return json(std::vector<int>(all.begin() + ends[s], all.begin() + ends[s + 1]));
            };
            lines += json{{"input_ids", part(ids)}, {"labels", part(labels)}}.dump() + "\n";
        }
        data = folder.write("data.jsonl", lines);
    }

#ifdef LLMC_EMULATED
    ~Desk() {
        emu::machine() = {};
    }
#endif

    // Runs the program on one thread; `out` is what stands for stdout.
    Ending run(std::vector<std::string> arguments, const fs::path& out = "") const {
        arguments.insert(arguments.begin(), "train_quaff");
        std::vector<char*> argv;
        for (std::string& argument : arguments) argv.push_back(argument.data());
        argv.push_back(nullptr);
        const int threads = omp_get_max_threads();
        omp_set_num_threads(1);
        int status = -1;
        {
            const Redirection out_file(stdout, out.empty() ? streams / "out" : out), err_file(stderr, streams / "err");
            status = train_quaff_main(static_cast<int>(arguments.size()), argv.data());
        }
        omp_set_num_threads(threads);
        return {status, out.empty() ? test::read(streams / "out") : "", test::read(streams / "err")};
    }

    // The same with the model and data of this desk.
    Ending run(const std::string& verb, const std::vector<std::string>& more) const {
        std::vector<std::string> arguments = {verb, "--model", model, "--data", data, "--json"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return run(arguments);
    }

    std::set<std::string> files() const {
        std::set<std::string> names;
        for (const auto& entry : fs::recursive_directory_iterator(folder.path())) names.insert(entry.path());
        return names;
    }
};

bool mentions(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

std::set<std::string> keys(const json& object) {
    std::set<std::string> names;
    for (const auto& [name, value] : object.items()) names.insert(name);
    return names;
}

const std::set<std::string> kEvaluationKeys = {"loss", "perplexity", "token_accuracy", "labelled_tokens", "examples"};

}  // namespace

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
    CHECK(desk.run("eval", {"--device", "cpu", "--dtype", "bf16"}).status == 2);

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

TEST_CASE("train takes the golden step and says what it did", "[program][golden]") {
    const Desk desk;
    const Ending ending = desk.run(
        "train", {"--method", "fp", "--adapter", desk.adapter, "--lora-dropout", "0", "--batch-size", "3",
                  "--max-steps", "4", "--learning-rate", "0.001", "--eval-data", desk.data, "--out", desk.out});
    INFO(ending.err);
    REQUIRE(ending.status == 0);
    const json result = ending.object();
    for (const char* field :
         {"steps", "loss", "eval_before", "eval_after", "tokens_per_second", "peak_memory_bytes", "adapter"})
        CHECK(result.contains(field));
    CHECK(result["steps"] == 4);
    CHECK(keys(result["eval_before"]) == kEvaluationKeys);
    CHECK(keys(result["eval_after"]) == kEvaluationKeys);
    CHECK(result["tokens_per_second"].get<double>() > 0);
    CHECK(result["peak_memory_bytes"].get<int64_t>() > 0);
    const double before = result["eval_before"]["loss"], after = result["eval_after"]["loss"];
    CHECK(before == Approx(desk.numbers["losses"][0].get<double>()).epsilon(1e-5));
    CHECK(after < before);

    std::istringstream log(test::read(fs::path(desk.out) / "log.jsonl"));
    std::vector<json> steps;
    for (std::string line; std::getline(log, line);)
        if (const json entry = json::parse(line); entry.contains("grad_norm")) steps.push_back(entry);
    REQUIRE(steps.size() == 4);
    CHECK(steps[0]["loss"].get<double>() == Approx(desk.numbers["losses"][0].get<double>()).epsilon(1e-5));
    CHECK(steps[0]["grad_norm"].get<double>() == Approx(desk.numbers["grad_norms"][0].get<double>()).epsilon(1e-4));
    CHECK(steps[3]["loss"].get<double>() == Approx(result["loss"].get<double>()).epsilon(1e-8));  // nine digits

    // The adapter is all there is to keep. The file holds fp32 and the batches are the same.
    const json again = desk.run("eval", {"--adapter", result["adapter"]}).object();
    CHECK(again["loss"].get<double>() == Approx(after).epsilon(1e-6));
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
    json config = llmc::read_json(mute / "config.json");
    const char* hint = "the model ended its answer at once; does it want a chat template (--chat)?";
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

TEST_CASE("--show-tokens leaves one JSON object too", "[program]") {
    const Desk desk;
    const Ending ending = desk.run("train", {"--show-tokens", "5"});
    CHECK(ending.object() == json{{"shown", 3}});
    CHECK(mentions(ending.err, "example 0: "));
}

TEST_CASE("training goes on with the rank, alpha and targets of its adapter", "[program]") {
    const Desk desk;
    const json config = llmc::read_json(fs::path(desk.adapter) / "adapter_config.json");
    const auto train = [&](const std::vector<std::string>& more) {
        std::vector<std::string> all = {"--method", "fp",    "--adapter", desk.adapter,   "--max-steps",
                                        "1",        "--out", desk.out,    "--eval-split", "0"};
        all.insert(all.end(), more.begin(), more.end());
        return desk.run("train", all);
    };
    for (const auto& [name, value] :
         {std::pair("--lora-r", "3"), std::pair("--lora-alpha", "0.5"), std::pair("--target-modules", "q_proj")}) {
        const Ending refused = train({name, value});
        CHECK(refused.status == 2);
        CHECK(mentions(refused.err, std::string(name) + " " + value + ": the adapter " + desk.adapter + " has "));
        CHECK(desk.files() == std::set<std::string>{desk.data});
    }
    const Ending agreed = train({"--lora-r", config["r"].dump()});
    INFO(agreed.err);
    REQUIRE(agreed.status == 0);
    CHECK(mentions(test::read(fs::path(desk.out) / "config.toml"), "lora-r = " + config["r"].dump() + "\n"));
    const Ending untold = train({});
    REQUIRE(untold.status == 0);
    const std::string toml = test::read(fs::path(desk.out) / "config.toml");
    CHECK(mentions(toml, "lora-r = " + config["r"].dump() + "\n"));
    CHECK(mentions(toml, "lora-alpha = " + config["lora_alpha"].dump() + "\n"));
    REQUIRE(config["target_modules"].size() == 7);
    CHECK(mentions(toml, "target-modules = \"all-linear\"\n"));
}

TEST_CASE("the end of a training run says how to go on, --quiet only what came out", "[program]") {
    const Desk desk;
    std::vector<std::string> arguments = {"train",  "--model",      desk.model, "--data", desk.data, "--method",
                                          "fp",     "--max-steps",  "1",        "--out",  desk.out,  "--template",
                                          "chatml", "--eval-split", "0"};
    const std::string with = "--model " + desk.model + " --adapter " + desk.out + "/adapter";
    const Ending told = desk.run(arguments);
    INFO(told.err);
    REQUIRE(told.status == 0);
    CHECK(mentions(told.out, "generate " + with + " --template chatml --prompt"));
    CHECK(mentions(told.out, "eval " + with + " --template chatml --data FILE"));
    CHECK(mentions(told.out, "merge " + with + " --out DIR"));
    CHECK(mentions(told.out, "\n1 step, "));
    arguments.push_back("--quiet");
    const Ending quiet = desk.run(arguments);
    CHECK(quiet.out.starts_with("1 step, "));
    CHECK(quiet.out.ends_with("the adapter is in " + desk.out + "/adapter\n"));
    CHECK(std::ranges::count(quiet.out, '\n') == 2);
}

TEST_CASE("a run whose files cannot be read says that and nothing else", "[program]") {
    const Desk desk;
    const auto refused = [&](std::vector<std::string> more) {
        std::vector<std::string> arguments = {"train", "--model", desk.model, "--data", desk.data, "--out", desk.out};
        arguments.insert(arguments.end(), more.begin(), more.end());
        const Ending ending = desk.run(arguments);
        CHECK(ending.status == 1);
        CHECK(mentions(ending.err, "no_such"));
        CHECK_FALSE(mentions(ending.out, "learning-rate"));
        return ending;
    };
    const std::string missing = desk.folder / "no_such.jsonl";
    CHECK(refused({"--model", desk.folder / "no_such"}).out.empty());
    CHECK(refused({"--data", missing}).out.empty());
    refused({"--eval-data", missing});
    refused({"--adapter", missing});
    refused({"--outliers", missing});
    refused({"--cal-data", missing});
    CHECK(mentions(desk.run({"train", "--model", desk.model, "--data", desk.data, "--out", desk.out, "--method", "fp",
                             "--max-steps", "1"})
                       .out,
                   "learning-rate"));
}

TEST_CASE("where no live line shows them, long phases begin with a line of their own", "[program]") {
    const Desk desk;
    const std::vector<std::string> evaluate = {
        "eval", "--model", desk.model, "--data", desk.data, "--cal-data", desk.data, "--outlier-max-ratio", "0.1"};
    const Ending ending = desk.run(evaluate);
    INFO(ending.err);
    REQUIRE(ending.status == 0);
    const size_t calibrating = ending.out.find("calibrating on 3 examples ...\n"),
                 evaluating = ending.out.find("evaluating 3 examples ...\n"), loss = ending.out.find("loss ");
    CHECK(calibrating < evaluating);
    CHECK(evaluating < loss);
    CHECK(loss != std::string::npos);
    std::vector<std::string> quietly = evaluate;
    quietly.push_back("--quiet");
    CHECK_FALSE(mentions(desk.run(quietly).out, "..."));
}

TEST_CASE("a conversation takes the model's own template, and says so where there is none", "[program]") {
    const Desk desk;
    const std::string data = desk.folder.write(
        "chat.jsonl",
        R"({"messages": [{"role": "user", "content": "Spell AB"}, {"role": "assistant", "content": "A B"}]})");
    const fs::path model = desk.folder / "model";
    fs::copy("dev/demo/model", model);
    const auto run = [&](std::vector<std::string> more) {
        std::vector<std::string> arguments = {"train",       "--model",  model,   "--data", data,
                                              "--max-steps", "1",        "--out", desk.out, "--eval-split",
                                              "0",           "--method", "fp"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return desk.run(arguments);
    };
    const Ending without = run({});
    CHECK(without.status == 1);
    CHECK(mentions(without.err, data + ":1: a conversation needs a chat template. "));
    CHECK(mentions(without.err, "Choose one with --template"));
    const std::string named = run({"--template", "chatml", "--show-tokens", "1"}).out;
    CHECK(mentions(named, "example 0: "));
    json config = llmc::read_json(model / "tokenizer_config.json");
    config["chat_template"] = "<|im_start|>";
    desk.folder.write("model/tokenizer_config.json", config.dump());
    CHECK(run({"--show-tokens", "1"}).out == named);
    const Ending trained = run({});
    INFO(trained.err);
    CHECK(trained.status == 0);
    CHECK(mentions(trained.out, "/adapter --template auto --prompt"));
}

TEST_CASE("the answers that are shown do not depend on how long the training examples are", "[program][demo]") {
    const Desk desk;
    // Untrained, the demo's model answers this in more tokens than the one that is asked for.
    const std::string asked =
        desk.folder.write("eval.jsonl", R"({"input": "Which letter is at the start of DEAI? ", "output": "D"})");
    std::string answers[2];
    for (const bool lengthy : {false, true}) {
        std::string source;
        for (int i = 0; i < (lengthy ? 60 : 1); ++i) source += "a b ";
        const std::string data = desk.folder.write("train.jsonl", json{{"input", source}, {"output", "b"}}.dump());
        const Ending ending = desk.run({"train", "--data", data, "--eval-data", asked, "--max-steps", "1", "--method",
                                        "fp", "--quiet", "--out", desk.out});
        INFO(ending.err);
        REQUIRE(ending.status == 0);
        const size_t before = ending.out.find("  before  ");
        REQUIRE(before != std::string::npos);
        answers[lengthy] = ending.out.substr(before, ending.out.find('\n', before) - before);
    }
    CHECK(answers[0] == answers[1]);
    CHECK(answers[0].size() > std::string("  before  They").size());
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
    // A reader that goes away before all is said, as `| head -1` does: no failure, and not a word about it.
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
    CHECK(left.err == desk.run(generate).err);  // at most what the same call says anyway: which device it takes
}

TEST_CASE("--plan prints the memory and writes nothing", "[program]") {
    const Desk desk;
    for (const std::string verb : {"train", "info"}) {
        const Ending ending = desk.run(verb, {"--plan", "--out", desk.out});
        INFO(ending.err);
        CHECK(ending.status == 0);
        CHECK(ending.object()["total_bytes"].get<int64_t>() > 0);
        CHECK(desk.files() == std::set<std::string>{desk.data});
    }
}

#ifdef LLMC_EMULATED

TEST_CASE("--device cuda trains the golden step on the GPU, in every type", "[program][cuda][golden]") {
    const Desk desk;
    emu::machine().devices = 1;
    const double golden_loss = desk.numbers["losses"][0];
    for (const auto& [dtype, bound] : {std::pair("fp32", 1e-5), std::pair("bf16", 0.01), std::pair("fp16", 0.001)}) {
        CAPTURE(dtype);
        const Ending ending =
            desk.run("train", {"--device",    "cuda",       "--dtype",         dtype,   "--method",     "fp",
                               "--adapter",   desk.adapter, "--lora-dropout",  "0",     "--batch-size", "3",
                               "--max-steps", "2",          "--learning-rate", "0.001", "--eval-data",  desk.data,
                               "--out",       desk.out});
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
