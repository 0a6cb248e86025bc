#include "quaff/cli/compare_commands.h"

#include "llmc/system/child_process.h"
#include "test/catch.h"
#include "test/quaff/cli/command_line.h"

using namespace quaff;
using namespace quaff::cli;
using namespace command_line;
using Kind = CompareJob::Kind;

namespace {

std::string command(const std::vector<std::string>& arguments, const CompareJob& job) {
    return llmc::shell_line(arguments_of(parse(arguments), job));
}

const std::vector<std::string> kBase = {"compare", "--model", "m", "--data", "train.jsonl"};

std::vector<std::string> with(const std::vector<std::string>& more) {
    std::vector<std::string> all = kBase;
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

}  // namespace

TEST_CASE("the methods of a comparison are those of --method", "[compare]") {
    CHECK(methods_of("fp,quaff") == std::vector<std::string>{"fp", "quaff"});
    CHECK(methods_of("quaff") == std::vector<std::string>{"quaff"});
    CHECK(methods_of("all").size() == std::size(kMethodNames));
    CHECK(mentions(complaint(with({"--methods", "fp,quaf"})), "there is no method 'quaf'; did you mean quaff?"));
    CHECK(mentions(complaint(with({"--methods", "fp,gptq"})), "(the methods are "));
    CHECK(mentions(complaint(with({"--methods", "fp,quaff,fp"})), "--methods names fp twice"));
    CHECK(mentions(complaint(with({"--methods", "fp,"})), "there is no method ''"));
    CHECK(mentions(complaint(with({"--methods", ""})), "--methods needs a value"));
}

TEST_CASE("a comparison that cannot be made is refused before anything runs", "[compare]") {
    CHECK(mentions(complaint({"compare", "--model", "m"}), "--model needs --data"));
    CHECK(mentions(complaint(with({"--data", "-"})), "not standard input"));
    CHECK(mentions(complaint(with({"--resume", "some/folder"})), "--out names the comparison"));
    CHECK(mentions(complaint(with({"--seeds", "0"})), "--seeds must be"));
    CHECK(mentions(complaint(with({"--max-steps", "-2"})), "--max-steps must be"));
    CHECK(mentions(complaint(with({"--data", "more.jsonl", "--eval-data", "e"})), "join the files"));
    CHECK(complaint(with({"--data", "more.jsonl", "--eval-data", "e", "--cal-data", "c"})).empty());
    // It matters to the methods that find channels on --data.
    const auto of_two_files = [](const std::string& methods, const std::vector<std::string>& more) {
        std::vector<std::string> line = with({"--data", "more.jsonl", "--eval-data", "e", "--methods", methods});
        line.insert(line.end(), more.begin(), more.end());
        return complaint(line);
    };
    CHECK(of_two_files("fp", {}).empty());
    CHECK(mentions(of_two_files("fp,quaff", {}), "compare calibrates quaff on --data"));
    CHECK(mentions(of_two_files("fp,quaff", {}), "give --cal-data or --outliers"));
    CHECK(of_two_files("fp,quaff", {"--outliers", "o.json"}).empty());
    const std::string paper = of_two_files("quaff,quaff-paper", {"--outliers", "o.json"});
    CHECK(mentions(paper, "compare calibrates quaff-paper on --data"));
    CHECK_FALSE(mentions(paper, "--outliers"));  // this method does not take it
    CHECK(of_two_files("quaff,quaff-paper", {"--cal-data", "c"}).empty());
    CHECK(complaint(with({"--resume"})).empty());
    CHECK(parse(with({"--method", "fp"})).unused == std::vector<std::string>{"method"});
    CHECK(parse(kBase).options.out == "out/m-compare");
}

TEST_CASE("what is held out is evaluated, and the rest calibrates and trains", "[compare]") {
    CHECK(command(kBase, {Kind::evaluate_before, "quaff", 3, ""}) ==
          "eval --json --reference --method quaff --model m --data train.jsonl --eval-split 0.1 --seed 3");
    CHECK(command(with({"--max-steps", "50"}), {Kind::train, "quaff", 3, "out/run"}) ==
          "train --json --method quaff --model m --data train.jsonl --eval-split 0.1 --metrics none --exact-match off "
          "--seed 3 --max-steps 50 --eval-steps 0 --save-steps 0 --out out/run");
    CHECK(command(kBase, {Kind::evaluate_after, "quaff", 3, "out/run"}) ==
          "eval --json --reference --adapter out/run/adapter --model m --data train.jsonl --eval-split 0.1 --seed 3");
}

TEST_CASE("data of its own is evaluated, and the training data calibrate and train", "[compare]") {
    const auto line = with({"--eval-data", "a.jsonl", "--eval-data", "b.jsonl"});
    CHECK(
        command(line, {Kind::evaluate_before, "quaff", 0, ""}) ==
        "eval --json --reference --method quaff --model m --data a.jsonl --data b.jsonl --cal-data train.jsonl --seed "
        "0");
    CHECK(command(line, {Kind::evaluate_before, "fp", 0, ""}) ==
          "eval --json --reference --method fp --model m --data a.jsonl --data b.jsonl --seed 0");
    CHECK(command(line, {Kind::train, "quaff", 0, "r"}) ==
          "train --json --method quaff --model m --data train.jsonl --eval-split 0 --seed 0 --max-steps 8 --eval-steps "
          "0 --save-steps 0 --out r");
    CHECK(command(line, {Kind::train, "quaff", 0, "r", /*resumes=*/true}) == "train --json --resume --out r");
}

TEST_CASE("chosen options reach the processes that take them", "[compare]") {
    const auto line = with({"--lora-r", "4", "--batch-size", "2", "--metrics", "rouge_l", "--cal-data", "c d.jsonl",
                            "--train-on-source", "--save-steps", "10", "--epochs", "2", "--seed", "9"});
    CHECK(command(line, {Kind::evaluate_before, "quaff", 9, ""}) ==
          "eval --json --reference --method quaff --model m --data train.jsonl --eval-split 0.1 --seed 9 "
          "--train-on-source --cal-data 'c d.jsonl' --batch-size 2 --metrics rouge_l");
    CHECK(command(line, {Kind::train, "quaff", 9, "r"}) ==
          "train --json --method quaff --model m --data train.jsonl --eval-split 0.1 --metrics none --exact-match off "
          "--seed 9 --max-steps -1 --eval-steps 0 --train-on-source --cal-data 'c d.jsonl' --lora-r 4 --batch-size 2 "
          "--epochs 2 --save-steps 10 --out r");
    CHECK(command(line, {Kind::evaluate_after, "quaff", 9, "r"}) ==
          "eval --json --reference --adapter r/adapter --model m --data train.jsonl --eval-split 0.1 --seed 9 "
          "--train-on-source --batch-size 2 --metrics rouge_l");

    const Comparison comparison = cli::comparison_of(parse(line));
    CHECK(comparison.steps == -1);
    CHECK(comparison.first_seed == 9);
    CHECK(comparison.seeds == 3);
    const OptionTexts expected = {{"model", "m"},
                                  {"data", "train.jsonl"},
                                  {"train-on-source", "true"},
                                  {"cal-data", "c d.jsonl"},
                                  {"lora-r", "4"},
                                  {"batch-size", "2"},
                                  {"epochs", "2"},
                                  {"metrics", "rouge_l"},
                                  {"save-steps", "10"},
                                  {"methods", "all"},
                                  {"seeds", "3"},
                                  {"seed", "9"}};
    CHECK(comparison.options == expected);
}

TEST_CASE("gradients are compared by the evaluations", "[compare]") {
    const auto line = with({"--gradient-error", "--grad-bits", "16"});
    const std::string before = command(line, {Kind::evaluate_before, "naive", 0, ""}),
                      training = command(line, {Kind::train, "naive", 0, "r"});
    CHECK(before.find("--reference") != std::string::npos);
    CHECK(before.find(" --gradient-error") != std::string::npos);
    CHECK(before.find(" --grad-bits 16") != std::string::npos);
    CHECK(training.find("--gradient-error") == std::string::npos);
    CHECK(training.find(" --grad-bits 16") != std::string::npos);
}

TEST_CASE("a method gets the options that are for it", "[compare]") {
    const auto line = with({"--eval-data", "e.jsonl", "--outlier-max-ratio", "0.05", "--rotation", "off", "--outliers",
                            "o.json", "--scale-momentum", "0.5"});
    CHECK(command(line, {Kind::evaluate_before, "quaff", 0, ""}) ==
          "eval --json --reference --method quaff --model m --data e.jsonl --seed 0 --outliers o.json "
          "--outlier-max-ratio 0.05 --rotation off");
    CHECK(command(line, {Kind::evaluate_before, "quaff-paper", 0, ""}) ==
          "eval --json --reference --method quaff-paper --model m --data e.jsonl --cal-data train.jsonl --seed 0");
    CHECK(command(line, {Kind::evaluate_after, "quaff", 0, "r"}) ==
          "eval --json --reference --adapter r/adapter --model m --data e.jsonl --seed 0");
    CHECK(left_out(parse(line), "quaff").empty());
    CHECK(left_out(parse(line), "quaff-paper") ==
          std::vector<std::string>{"outlier-max-ratio", "outliers", "rotation", "scale-momentum"});
    CHECK(command(line, {Kind::train, "quaff-paper", 0, "r"}) ==
          "train --json --method quaff-paper --model m --data train.jsonl --eval-split 0 --seed 0 --max-steps 8 "
          "--eval-steps 0 --save-steps 0 --out r");
}

TEST_CASE("every command line of a comparison is one that the program takes", "[compare]") {
    for (const auto& line : {kBase, with({"--eval-data", "e.jsonl", "--max-steps", "5"}),
                             std::vector<std::string>{"compare"}, std::vector<std::string>{"compare", "--epochs", "1"}})
        for (const Kind kind : {Kind::evaluate_before, Kind::train, Kind::evaluate_after}) {
            const CommandLine parsed = parse(arguments_of(parse(line), {kind, "quaff", 1, "r"}));
            CHECK(parsed.unused.empty());
            CHECK(parsed.json);
            CHECK(parsed.options.compute.seed == 1);
        }
    // The demo's own settings are handed on, but it is trained only when asked for.
    const std::string demo = command({"compare"}, {Kind::train, "fp", 0, "r"});
    CHECK(mentions(demo, "--max-steps 8 "));
    CHECK(mentions(demo, "--learning-rate 0.003"));
}
