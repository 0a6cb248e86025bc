// What went wrong is told when it happens and again at the end.
#include "quaff/run/training/troubles.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "quaff/run/training/report.h"
#include "test/catch.h"
#include "test/quaff/program.h"
#include "test/quaff/workshop.h"

using namespace quaff;
using Catch::Matchers::ContainsSubstring;
using nlohmann::ordered_json;

TEST_CASE("the first trouble of a kind stands for those that follow", "[troubles]") {
    Troubles troubles;
    CHECK(troubles.sentences().empty());
    CHECK(troubles.add("checkpoint", "after step 2"));
    CHECK(troubles.add("worse", "rose"));
    CHECK_FALSE(troubles.add("checkpoint", "after step 4"));
    CHECK(troubles.sentences() == std::vector<std::string>{"after step 2 (and 1 more like it in log.jsonl)", "rose"});
}

TEST_CASE("a gradient explodes at ten times the mean of the steps before", "[troubles]") {
    ExplodingGradient early;
    for (int i = 0; i < 16; ++i) CHECK(early.update(i == 3 ? 1000 : 2).empty());  // too few to compare
    ExplodingGradient steady;
    for (int i = 0; i < 16; ++i) CHECK(steady.update(2).empty());
    CHECK(steady.update(19.9).empty());
    CHECK(steady.update(std::numeric_limits<double>::infinity()).empty());
    CHECK_THAT(steady.update(100), ContainsSubstring("the gradient explodes: its norm is 100, 33 times the mean of "
                                                     "the 17 steps before. Lower --learning-rate"));
}

TEST_CASE("a run has no result where it is worse than guessing, on what it was trained on, too", "[troubles]") {
    const ordered_json before = {{"loss", 3.0}}, worse = {{"loss", 9.0}}, infinite = {{"loss", nullptr}};
    CHECK_THAT(why_unusable(before, worse, 8.0, 48), ContainsSubstring("no usable result: the loss is 9.0000"));
    CHECK(why_unusable(before, worse, 0.5, 48).empty());            // learnt by heart
    CHECK(why_unusable(worse, worse, 8.0, 48).empty());             // no worse than before
    CHECK(why_unusable(before, {{"loss", 4.8}}, 8.0, 48).empty());  // ln 48 + 1 = 4.87
    CHECK_FALSE(why_unusable(nullptr, worse, 8.0, 48).empty());     // --eval-on-start off
    CHECK(why_unusable(before, infinite, 8.0, 48).empty());
}

TEST_CASE("a run without an evaluation before training has figures after it alone", "[trainer][troubles]") {
    const Workshop shop("eval_on_start");
    const ordered_json result = shop.run(
        "off", {"--eval-on-start", "off", "--max-steps", "2", "--eval-data", (shop.folder / "eval.jsonl").string()});
    CHECK(result["eval_before"].is_null());
    CHECK(result["eval_after"]["loss"].is_number());
    CHECK(shop.log("off").front()["step"] == 1);
    const std::string told = small::read_text(shop.folder / "terminal.txt");
    CHECK_THAT(told, ContainsSubstring("figures of the int8 model that was trained (--method quaff), after training:"));
    CHECK_THAT(told, ContainsSubstring("eval --method fp "));
    CHECK_THAT(told, ContainsSubstring(" (planned "));
}

TEST_CASE("an evaluation takes at most --max-eval-samples", "[trainer][troubles]") {
    const Workshop shop("max_eval_samples");
    const std::string eval = (shop.folder / "eval.jsonl").string();
    const auto examples = [&](const std::string& out, const std::string& most) {
        return shop
            .run(out, {"--method", "fp", "--max-steps", "1", "--eval-data", eval, "--max-eval-samples",
                       most})["eval_after"]["examples"]
            .get<int>();
    };
    CHECK(examples("two", "2") == 2);
    CHECK(examples("all", "0") == 5);
    CHECK(examples("more", "50") == 5);
}

TEST_CASE("a log prints every --logging-steps, and all steps are in log.jsonl", "[trainer][troubles]") {
    const Workshop shop("logging_steps");
    shop.run("run", {"--method", "fp", "--max-steps", "7", "--logging-steps", "3", "--eval-split", "0"});
    const std::string told = small::read_text(shop.folder / "terminal.txt");
    for (int step = 1; step <= 7; ++step) {
        CAPTURE(step);
        CHECK((told.find(concat("\nstep ", step, "/7 ")) != told.npos) == (step % 3 == 0));
    }
    CHECK(shop.log("run").size() == 7);
}

TEST_CASE("a schedule that never leaves 0 is told", "[trainer][troubles]") {
    const Workshop shop("idle_schedule");
    const auto told = [&](const std::string& steps) {
        const program::Redirection err(stderr, shop.folder / "stderr.txt");
        shop.run("run" + steps, {"--method", "fp", "--max-steps", steps, "--lr-scheduler", "linear", "--eval-split",
                                 "0", "--batch-size", "2"});
        std::fflush(stderr);
        return small::read_text(shop.folder / "stderr.txt");
    };
    CHECK_THAT(told("1"), ContainsSubstring("--lr-scheduler linear: the learning rate of the only step is 0"));
    CHECK_FALSE(program::mentions(told("3"), "learning rate of"));
}
