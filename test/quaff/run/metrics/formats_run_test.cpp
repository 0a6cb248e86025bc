// Data sets as the program takes them: format, metrics, predictions. The rows are made up.
#include "test/catch.h"
#include "test/quaff/program.h"
#include "test/quaff/run/metrics/lines.h"

using namespace program;
using Catch::Matchers::ContainsSubstring;
using test::json_lines;
using test::unwrapped;

namespace {

struct FormatDesk : Desk {
    std::string questions = folder.write(
        "questions.jsonl",
        "{\"question\": \"Which letter is first?\", \"options\": [\"A of B\", \"the box\"], \"answer\": \"A\", "
        "\"answer_index\": 0, \"category\": \"letters\"}\n"
        "{\"question\": \"Which is more?\", \"options\": [\"5\", \"16 and 21\", \"7\"], \"answer\": \"C\", "
        "\"answer_index\": 2}\n");

    Ending eval(const std::string& data, const std::vector<std::string>& more) const {
        std::vector<std::string> arguments = {"eval", "--model", "dev/demo/model", "--data",
                                              data,   "--json",  "--device",       "cpu"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return run(arguments);
    }
};

}  // namespace

TEST_CASE("questions are recognised, told, and measured by their options", "[formats]") {
    const FormatDesk desk;
    const fs::path file = desk.folder / "predictions.jsonl";
    const Ending ending = desk.eval(desk.questions, {"--predictions", file.string(), "--max-answer-tokens", "8"});
    INFO(ending.err);
    REQUIRE(ending.status == 0);
    CHECK_THAT(unwrapped(ending.err), ContainsSubstring("questions.jsonl: read as mmlu-pro, whose columns it has; "
                                                        "--data-format none takes its columns as they are"));
    const json object = ending.object();
    const std::vector<json> lines = json_lines(file);
    REQUIRE(lines.size() == 2);
    CHECK(lines[1]["target"] == "C");
    CHECK_THAT(lines[1]["prompt"].get<std::string>(), ContainsSubstring("A. 5\nB. 16 and 21\nC. 7\n"));
    for (const char* metric : {"choice_accuracy", "choice_likelihood_accuracy"}) {
        const double sum = lines[0][metric].get<double>() + lines[1][metric].get<double>();
        CHECK(object[metric].get<double>() == Approx(sum / 2));
    }

    const json plain = desk.eval(desk.questions, {"--data-format", "none"}).object();
    CHECK_FALSE(plain.contains("choice_accuracy"));
    const json without = desk.eval(desk.questions, {"--metrics", "none"}).object();
    CHECK(keys(without) == kEvaluationKeys);
}

TEST_CASE("rows that are not of the format named are refused with their line", "[formats]") {
    const FormatDesk desk;
    const std::string data = desk.folder.write("math.jsonl",
                                               "{\"question\": \"1 + 1?\", \"answer\": \"#### 2\"}\n"
                                               "{\"question\": \"2 + 1?\"}\n");
    const Ending ending = desk.eval(data, {"--data-format", "gsm8k"});
    CHECK(ending.status == 1);
    CHECK_THAT(unwrapped(ending.err), ContainsSubstring("math.jsonl:2: a row of the format gsm8k has the columns "
                                                        "\"question\", \"answer\", but here is no \"answer\""));
    const Ending skipped = desk.eval(data, {"--data-format", "gsm8k", "--strict-data", "off"});
    REQUIRE(skipped.status == 0);
    CHECK(skipped.object()["examples"] == 1);
    CHECK(skipped.object().contains("numeric_accuracy"));
    const Ending unknown = desk.eval(data, {"--data-format", "gsm"});
    CHECK(unknown.status == 2);
    CHECK_THAT(unwrapped(unknown.err), ContainsSubstring("--data-format must be auto, none, alpaca, "));

    // Renamed columns are those of the format.
    const std::string other = desk.folder.write("other.jsonl", "{\"q\": \"1 + 1?\", \"a\": \"#### 2\"}\n");
    const Ending renamed = desk.eval(other, {"--data-format", "gsm8k", "--columns", "question=q,answer=a"});
    INFO(renamed.err);
    REQUIRE(renamed.status == 0);
    CHECK(renamed.object().contains("numeric_accuracy"));
}

TEST_CASE("long texts come in pieces, and their perplexity is that of the whole", "[formats]") {
    const FormatDesk desk;
    std::string text;
    for (int i = 0; i < 60; ++i) text += "Which letter is at the start of box " + std::to_string(i) + "? ";
    const std::string data = desk.folder.write(
        "pages.jsonl", json{{"text", text}}.dump() + "\n" + json{{"text", "Two boxes weigh 25 pounds."}}.dump() + "\n");
    const std::vector<std::string> limits = {"--source-max-len", "40", "--target-max-len", "24"};
    const auto eval = [&](std::vector<std::string> more) {
        more.insert(more.end(), limits.begin(), limits.end());
        const Ending ending = desk.eval(data, more);
        INFO(ending.err);
        REQUIRE(ending.status == 0);
        return ending.object();
    };
    const fs::path file = desk.folder / "predictions.jsonl";
    const json wide = eval({"--data-format", "wikitext2", "--predictions", file.string()});
    CHECK(wide["examples"].get<int>() > 10);
    REQUIRE(json_lines(file).size() == 2);
    CHECK(json_lines(file)[0]["target"] == text);
    // Every token has a loss in one piece, and what is cut for the loss is not cut for the perplexity.
    const json long_pieces = desk.eval(data, {"--data-format", "wikitext2"}).object();
    CHECK(long_pieces["examples"] < wide["examples"]);
    CHECK(long_pieces["labelled_tokens"] == wide["labelled_tokens"]);
    CHECK(long_pieces["word_perplexity"] == wide["word_perplexity"]);

    // A text's pieces are all trained on, or all held out.
    const Ending ending = desk.run({"train",
                                    "--model",
                                    "dev/demo/model",
                                    "--data",
                                    data,
                                    "--data-format",
                                    "wikitext2",
                                    "--eval-split",
                                    "0.5",
                                    "--max-steps",
                                    "1",
                                    "--source-max-len",
                                    "40",
                                    "--target-max-len",
                                    "24",
                                    "--out",
                                    desk.out,
                                    "--json",
                                    "--device",
                                    "cpu"});
    INFO(ending.err);
    REQUIRE(ending.status == 0);
    const json object = ending.object();
    CHECK(object["eval_before"].contains("word_perplexity"));
    CHECK(object["eval_after"].contains("word_perplexity"));
    const int held_out = object["eval_after"]["examples"];
    CHECK((held_out == 1 || held_out == wide["examples"].get<int>() - 1));
}

TEST_CASE("the seed shuffles the options of gpqa, and nothing else does", "[formats]") {
    const FormatDesk desk;
    std::string rows;
    for (int i = 0; i < 8; ++i)
        rows += json{{"Question", "Which?"},
                     {"Correct Answer", "box"},
                     {"Incorrect Answer 1", "one"},
                     {"Incorrect Answer 2", "two"},
                     {"Incorrect Answer 3", "three"}}
                    .dump() +
                "\n";
    const std::string data = desk.folder.write("gpqa.jsonl", rows);
    const auto targets = [&](const std::string& seed) {
        const fs::path file = desk.folder / "predictions.jsonl";
        const Ending ending = desk.eval(data, {"--seed", seed, "--metrics", "choice_likelihood_accuracy",
                                               "--predictions", file.string(), "--max-answer-tokens", "1"});
        REQUIRE(ending.status == 0);
        std::string letters;
        for (const json& line : json_lines(file)) letters += line["target"].get<std::string>();
        return letters;
    };
    CHECK(targets("1") == targets("1"));
    CHECK(targets("1") != targets("2"));
}
