// Checks of a command line before any file is opened, and what a verb needs.
#include "quaff/cli/checks.h"

#include "quaff/cli/verbs.h"
#include "test/catch.h"
#include "test/quaff/cli/command_line.h"

using namespace quaff;
using namespace quaff::cli;
using namespace command_line;

TEST_CASE("options that contradict each other are refused", "[options]") {
    CHECK(mentions(complaint({"--resume", "--adapter", "a"}), "--resume and --adapter"));
    CHECK(mentions(complaint({"eval", "--outliers", "o.json", "--cal-data", "c"}), "--outliers"));
    CHECK(mentions(complaint({"generate"}), "--prompt"));
    CHECK(mentions(complaint({"generate", "--prompt", "a", "--prompt-file", "b"}), "contradict"));
    CHECK(mentions(complaint({"tokenize"}), "--text"));
    for (const char* method : {"fp", "naive"})
        CHECK(mentions(complaint({"--track-outliers", "--method", method}), "--track-outliers has nothing to do"));
    CHECK(mentions(complaint({"--refresh-outliers", "5", "--method", "fp"}), "--refresh-outliers has nothing to do"));
    CHECK(mentions(complaint({"--refresh-outliers", "5", "--method", "quaff-paper"}), "as published"));
    CHECK(parse({"--track-outliers"}).options.training.track_outliers);
    CHECK(parse({"eval", "--track-outliers"}).unused == std::vector<std::string>{"track-outliers"});
    CHECK(mentions(complaint({"merge"}), "--adapter"));
}

TEST_CASE("--plan never starts a run, even for a verb without a plan", "[options]") {
    const std::vector<std::vector<std::string>> runs = {
        {"calibrate"}, {"generate", "--prompt", "p"}, {"merge", "--adapter", "a"}, {"tokenize", "--text", "t"}};
    for (std::vector<std::string> run : runs) {
        CHECK(complaint(run).empty());
        run.push_back("--plan");
        CHECK(complaint(run) ==
              run[0] + " has no --plan; train_quaff info --plan prints the memory that a training run takes");
    }
    // A file may be a training run's.
    CHECK(complaint({"eval", "--config", write_file("m.toml", "plan = true\n")}).empty());
    for (const char* verb : {"train", "eval", "info"}) CHECK(parse({verb, "--plan"}).plan);
}

TEST_CASE("an option that the verb does not use is reported from the command line only", "[options]") {
    CHECK(parse({"eval", "--lora-r", "4"}).unused == std::vector<std::string>{"lora-r"});
    CHECK(parse({"eval", "--config", write_file("i.toml", "lora-r = 4\n")}).unused.empty());
}

TEST_CASE("a verb's row says what it needs, and --plan and --show-tokens need less", "[options]") {
    const auto needs = [](const std::vector<std::string>& arguments) { return needs_of(parse(arguments)); };
    for (const char* verb : {"train", "calibrate", "eval"}) {
        CHECK(needs({verb}).device);
        CHECK(needs({verb}).all_ranks);
        CHECK_FALSE(needs({verb, "--show-tokens", "1"}).device);
        CHECK_FALSE(needs({verb, "--show-tokens", "1"}).all_ranks);
    }
    CHECK(needs({"generate", "--prompt", "p"}).device);
    CHECK_FALSE(needs({"generate", "--prompt", "p"}).all_ranks);
    CHECK_FALSE(needs({"merge", "--adapter", "a"}).device);
    CHECK_FALSE(needs({"tokenize", "--text", "t"}).device);
    CHECK_FALSE(needs({"info"}).device);
    for (const char* verb : {"train", "info"}) {
        CHECK(needs({verb, "--plan"}).device);
        CHECK_FALSE(needs({verb, "--plan"}).all_ranks);
        CHECK_FALSE(needs({verb, "--plan", "--show-tokens", "1"}).device);  // the examples come first
    }
}

TEST_CASE("tokenize prints JSON with and without --json", "[options]") {
    CHECK_FALSE(mentions(parse({"tokenize", "--help-all"}).help, "--json"));
    CHECK(parse({"tokenize", "--text", "t", "--json"}).unused == std::vector<std::string>{"json"});
}

TEST_CASE("info uses a training run's options only with --plan", "[options]") {
    CHECK(parse({"info", "m", "--lora-r", "4"}).unused == std::vector<std::string>{"lora-r without --plan"});
    CHECK(parse({"info", "--plan", "--model", "m", "--data", "d", "--lora-r", "4"}).unused.empty());
    CHECK(parse({"info", "--plan", "--model", "m", "--data", "d", "--lora-r", "4"}).options.lora.r == 4);
}

TEST_CASE("an option that the verb does not use has no effect", "[options]") {
    const CommandLine o = parse({"train", "--chat", "--prompt", "x"});
    CHECK_FALSE(o.options.generation.chat);
    CHECK(o.options.generation.prompt.empty());
    CHECK(o.unused == std::vector<std::string>{"prompt", "chat"});
    CHECK_FALSE(parse({"train", "--config", write_file("j.toml", "chat = true\n")}).options.generation.chat);
    CHECK(mentions(complaint({"eval", "--lora-r", "0"}), "--lora-r must be"));  // checked all the same
}

TEST_CASE("gradients are compared with those of a reference", "[options]") {
    CHECK(complaint({"eval", "--gradient-error"}) ==
          "--gradient-error compares with the model in full precision: give --reference as well");
    const CommandLine line = parse({"eval", "--gradient-error", "--reference", "--grad-bits", "16"});
    CHECK(line.options.data.gradient_error);
    CHECK(line.options.compute.grad_bits == 16);
    CHECK(line.unused.empty());
    CHECK(parse({"eval", "--grad-bits", "16"}).unused ==
          std::vector<std::string>{"grad-bits without --gradient-error"});
    CHECK(parse({"compare", "--gradient-error"}).options.data.gradient_error);
}

TEST_CASE("greedy decoding reports that it draws from nothing", "[options]") {
    CHECK(parse({"generate", "--prompt", "p", "--top-p", "0.9", "--top-k", "5"}).unused ==
          std::vector<std::string>{"top-k without --temperature (greedy)", "top-p without --temperature (greedy)"});
    CHECK(parse({"generate", "--prompt", "p", "--top-p", "0.9", "--temperature", "1"}).unused.empty());
    CHECK(mentions(complaint({"--quiet", "--verbose"}), "contradict"));
}

TEST_CASE("full precision reports that it does not use outlier channels", "[options]") {
    CHECK(parse({"train", "--method", "fp", "--outliers", "o.json", "--lora-r", "4"}).unused ==
          std::vector<std::string>{"outliers with --method fp"});
    CHECK(
        parse({"train", "--method", "fp", "--grad-bits", "16", "--rotation", "on", "--outlier-term", "split"}).unused ==
        std::vector<std::string>{"outlier-term with --method fp", "rotation with --method fp",
                                 "grad-bits with --method fp"});
    CHECK(parse({"train", "--method", "naive", "--grad-bits", "16", "--rotation", "on"}).unused ==
          std::vector<std::string>{"rotation with --method naive"});
    CHECK(parse({"train", "--method", "smooth-static", "--outlier-max-ratio", "0.1", "--smooth-alpha", "0.4",
                 "--outlier-term", "split"})
              .unused == std::vector<std::string>{"outlier-max-ratio with --method smooth-static",
                                                  "outlier-term with --method smooth-static"});
    CHECK(parse({"train", "--method", "llm-int8", "--int8-threshold", "4", "--cal-data", "c"}).unused ==
          std::vector<std::string>{"cal-data with --method llm-int8"});
    CHECK(parse({"train", "--int8-threshold", "4", "--smooth-alpha", "0.4"}).unused ==
          std::vector<std::string>{"int8-threshold with --method quaff", "smooth-alpha with --method quaff"});
    CHECK(parse({"train", "--method", "qlora", "--grad-bits", "8"}).unused ==
          std::vector<std::string>{"grad-bits with --method qlora"});
    CHECK(parse({"train", "--outliers", "o.json"}).unused.empty());
    CHECK(parse({"calibrate", "--method", "fp", "--outliers", "o.json"}).unused == std::vector<std::string>{"method"});
}

TEST_CASE("the paper's method has the paper's settings and refuses others by name", "[options]") {
    const Options paper = parse({"train", "--method", "quaff-paper"}).options;
    CHECK(paper.outliers.strategy == OutlierStrategy::mean_times);
    CHECK(paper.outliers.threshold == 100);
    CHECK(paper.outliers.max_ratio == "0.01");
    CHECK(paper.compute.scale_momentum == 0.1);
    CHECK(paper.compute.rotation == false);
    CHECK(paper.compute.outlier_term == OutlierTerm::scaled);

    const std::pair<const char*, const char*> others[] = {
        {"--outlier-strategy", "token_max"}, {"--outlier-threshold", "20"}, {"--outlier-max-ratio", "0.02"},
        {"--scale-momentum", "0.2"},         {"--rotation", "on"},          {"--outlier-term", "split"}};
    for (const auto& [name, value] : others) {
        const std::string error = complaint({"train", "--method", "quaff-paper", name, value});
        CHECK(mentions(error, concat("whose ", name, " is ")));
        CHECK(mentions(error, concat("not ", value, "; leave it out, or choose --method quaff")));
    }
    CHECK(mentions(complaint({"train", "--method", "quaff-paper", "--outlier-budget", "1%"}),
                   "which has no --outlier-budget; leave it out"));
    CHECK(complaint({"train", "--method", "quaff-paper", "--outlier-max-ratio", "0.01", "--rotation", "auto"}).empty());
    CHECK(complaint({"eval", "--method", "quaff-paper", "--outlier-term", "scaled"}).empty());
}

TEST_CASE("the demo's examples are not taken for another model's", "[options]") {
    const std::string expected = "--model needs --data FILE as well: the demo's examples are for the demo's model";
    for (const char* verb : {"train", "eval", "calibrate"}) CHECK(complaint({verb, "--model", "m"}) == expected);
    CHECK(complaint({"--config", write_file("k.toml", "model = \"m\"\n")}) == expected);
    CHECK(complaint({"train", "--model", "m", "--plan"}) == expected);
    CHECK(complaint({"info", "--model", "m", "--plan"}) == expected);
    CHECK(complaint({"info", "--model", "m", "--show-tokens", "1"}) == expected);
    CHECK(complaint({"train", "--model", "m", "--cal-data", "c"}) == expected);

    CHECK(complaint({"eval", "--model", "m", "--eval-data", "e"}).empty());
    CHECK(complaint({"calibrate", "--model", "m", "--cal-data", "c"}).empty());
    CHECK(complaint({"train", "--model", "m", "--data", "d"}).empty());
    CHECK(complaint({"train", "--data", "d"}).empty());
    CHECK(complaint({"train", "--model", "dev/demo/model"}).empty());
    CHECK(complaint({"info", "m"}).empty());
    CHECK(complaint({"generate", "--model", "m", "--prompt", "p"}).empty());
    CHECK(complaint({"tokenize", "--model", "m", "--text", "t"}).empty());
    CHECK(complaint({"merge", "--model", "m", "--adapter", "a"}).empty());
}
