// Metrics of a task as the program shows them: keys of the JSON object, predictions, refusals.
#include <cmath>

#include "llmc/metrics/numeric.h"
#include "llmc/metrics/rouge.h"
#include "llmc/metrics/words.h"
#include "test/catch.h"
#include "test/quaff/program.h"
#include "test/quaff/run/metrics/lines.h"

using namespace program;
using Catch::Matchers::ContainsSubstring;
using test::json_lines;
using test::unwrapped;

namespace {

const std::string kModel = "dev/demo/model";

// The demo's model, which knows a few words and nothing else.
struct DemoDesk : Desk {
    std::string pairs = folder.write("pairs.jsonl",
                                     "{\"input\": \"What is the sum of 16 and 5? \", \"output\": \"21\"}\n"
                                     "{\"input\": \"Say the numbers. \", \"output\": \"the letter 7 of 12 boxes\"}\n"
                                     "{\"input\": \"Which letter? \", \"output\": \"1,000\"}\n");
    std::string texts = folder.write("texts.jsonl",
                                     "{\"text\": \"Which letter is at the start of a box?\"}\n"
                                     "{\"text\": \"Two boxes weigh 25 and 52 pounds.\\n\\nOne is a box.\"}\n");

    Ending eval(const std::string& data, std::vector<std::string> more) const {
        std::vector<std::string> arguments = {"eval", "--model", kModel, "--data", data, "--json", "--device", "cpu"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return run(arguments);
    }
};

}  // namespace

TEST_CASE("eval takes the metrics that are asked for, and predictions say what of each example", "[metrics]") {
    const DemoDesk desk;
    const fs::path file = desk.folder / "predictions.jsonl";
    const Ending ending =
        desk.eval(desk.pairs, {"--metrics", "rouge_l, numeric_accuracy,exact_match", "--predictions", file.string()});
    REQUIRE(ending.status == 0);
    const json object = ending.object();
    std::set<std::string> expected = kEvaluationKeys;
    expected.insert({"exact_match", "numeric_accuracy", "rouge_l"});
    CHECK(keys(object) == expected);
    CHECK_THAT(ending.err, ContainsSubstring("rouge l "));

    const std::vector<json> lines = json_lines(file);
    REQUIRE(lines.size() == 3);
    CHECK(lines[0]["prompt"] == "What is the sum of 16 and 5? ");
    CHECK(lines[1]["target"] == "the letter 7 of 12 boxes");
    double rouge = 0, numeric = 0, exact = 0;
    for (const json& line : lines) {
        CHECK(keys(line) ==
              std::set<std::string>{"prompt", "prediction", "target", "exact_match", "numeric_accuracy", "rouge_l"});
        const std::string prediction = line["prediction"], target = line["target"];
        CHECK(line["rouge_l"] == llmc::rouge_l(prediction, target));
        const auto number = llmc::answer_number(prediction);
        CHECK(line["numeric_accuracy"] == (number && number == llmc::answer_number(target) ? 1 : 0));
        CHECK(line["exact_match"] == (prediction == target ? 1 : 0));
        rouge += line["rouge_l"].get<double>();
        numeric += line["numeric_accuracy"].get<double>();
        exact += line["exact_match"].get<double>();
    }
    CHECK(object["rouge_l"].get<double>() == Approx(rouge / 3));
    CHECK(object["numeric_accuracy"].get<double>() == Approx(numeric / 3));
    CHECK(object["exact_match"].get<double>() == Approx(exact / 3));
}

TEST_CASE("word perplexity is that of the texts' words, whatever their examples leave out", "[metrics]") {
    const DemoDesk desk;
    const fs::path file = desk.folder / "predictions.jsonl";
    const Ending ending = desk.eval(
        desk.texts, {"--metrics", "word_perplexity", "--predictions", file.string(), "--window", "8", "--stride", "4"});
    REQUIRE(ending.status == 0);
    double log_probability = 0, words = 0;
    for (const json& line : json_lines(file)) {
        CHECK(line["prompt"] == "");
        CHECK(line["prediction"].is_null());
        const auto count = static_cast<double>(llmc::count_words(line["target"].get<std::string>()));
        log_probability -= count * std::log(line["word_perplexity"].get<double>());
        words += count;
    }
    CHECK(words == 9 + 11);
    // nine digits are written
    CHECK(ending.object()["word_perplexity"].get<double>() == Approx(std::exp(-log_probability / words)).epsilon(1e-6));

    // One window for the whole text sees more: with the demo's model, which was trained on such texts, it is likelier.
    const double whole = desk.eval(desk.texts, {"--metrics", "word_perplexity"}).object()["word_perplexity"];
    CHECK(whole != ending.object()["word_perplexity"].get<double>());
}

TEST_CASE("training measures the task before and after, and writes the predictions at its end", "[metrics]") {
    const DemoDesk desk;
    const fs::path file = desk.folder / "predictions.jsonl";
    const Ending ending = desk.run({"train",
                                    "--model",
                                    kModel,
                                    "--data",
                                    desk.pairs,
                                    "--eval-data",
                                    desk.pairs,
                                    "--max-steps",
                                    "2",
                                    "--eval-steps",
                                    "1",
                                    "--metrics",
                                    "numeric_accuracy,rouge_l",
                                    "--predictions",
                                    file.string(),
                                    "--out",
                                    desk.out,
                                    "--json",
                                    "--device",
                                    "cpu"});
    INFO(ending.err);
    REQUIRE(ending.status == 0);
    const json object = ending.object();
    for (const char* when : {"eval_before", "eval_after"}) {
        CHECK(object[when].contains("rouge_l"));
        CHECK(object[when].contains("numeric_accuracy"));
        CHECK_FALSE(object[when].contains("exact_match"));  // not in the list
    }
    CHECK(json_lines(file).size() == 3);
    CHECK(json_lines(file)[0].contains("rouge_l"));
    int with_task = 0;
    for (const json& line : json_lines(fs::path(desk.out) / "log.jsonl")) with_task += line.contains("eval_rouge_l");
    CHECK(with_task == 2);  // not at step 1
}

TEST_CASE("metrics that cannot be taken are refused before anything is computed", "[metrics]") {
    const DemoDesk desk;
    const auto refusal = [&](const std::string& data, const std::vector<std::string>& more) {
        const Ending ending = desk.eval(data, more);
        CHECK(ending.status != 0);
        CHECK(ending.out.empty());
        return unwrapped(ending.err);
    };
    CHECK_THAT(refusal(desk.pairs, {"--metrics", "bleu"}),
               ContainsSubstring("'bleu' is no metric; there are exact_match, "));
    CHECK_THAT(refusal(desk.pairs, {"--metrics", "rouge_l,"}), ContainsSubstring("'' is no metric"));
    CHECK_THAT(refusal(desk.pairs, {"--metrics", "none,rouge_l"}), ContainsSubstring("'none' is no metric"));
    CHECK_THAT(refusal(desk.pairs, {"--metrics", "choice_accuracy"}),
               ContainsSubstring("pairs.jsonl: example 1 is no question with options"));
    CHECK_THAT(refusal(desk.pairs, {"--metrics", "word_perplexity"}),
               ContainsSubstring("pairs.jsonl: example 1 is not a plain text"));
    CHECK_THAT(refusal(desk.texts, {"--metrics", "rouge_l"}),
               ContainsSubstring("texts.jsonl: example 1 has no prompt to answer"));
    CHECK_THAT(refusal(desk.pairs, {"--metrics", "rouge_l", "--train-on-source"}),
               ContainsSubstring("--metrics rouge_l: with --train-on-source examples have no prompt"));
    const std::string wordy = desk.folder.write("wordy.jsonl", "{\"input\": \"How many? \", \"output\": \"many\"}\n");
    CHECK_THAT(refusal(wordy, {"--metrics", "numeric_accuracy"}),
               ContainsSubstring("wordy.jsonl: example 1 has no number in its answer"));
    CHECK_THAT(refusal(desk.texts, {"--window", "8", "--stride", "9"}),
               ContainsSubstring("--stride 9 is more than --window 8"));
    CHECK_THAT(refusal(desk.texts, {"--metrics", "word_perplexity", "--window", "513"}),
               ContainsSubstring("--window 513: the model has only 512 positions"));
    CHECK_THAT(refusal(desk.pairs, {"--predictions", (desk.folder / "no" / "file").string()}),
               ContainsSubstring("does not exist; make it first"));
    CHECK_THAT(refusal(desk.pairs, {"--predictions", desk.folder.path().string()}), ContainsSubstring("is a folder"));
    CHECK_THAT(refusal(desk.pairs, {"--predictions", (desk.folder / "p").string(), "--train-on-source"}),
               ContainsSubstring("--predictions: with --train-on-source examples have no prompt"));
    const Ending unheld = desk.run({"train", "--model", kModel, "--data", desk.pairs, "--eval-split", "0",
                                    "--predictions", (desk.folder / "p").string(), "--out", desk.out});
    CHECK_THAT(unwrapped(unheld.err), ContainsSubstring("--predictions: there are no evaluation examples"));
    // Ids need no tokenizer, but their metrics do.
    const Ending ids = desk.run("eval", {"--predictions", (desk.folder / "predictions").string()});
    CHECK(ids.status != 0);
    CHECK_THAT(unwrapped(ids.err), ContainsSubstring("metrics and predictions are about texts and need one"));
}
