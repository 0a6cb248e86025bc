#include "quaff/run/compare/comparison.h"

#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "quaff/run/compare/step_log.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/run/compare/made_up.h"

using namespace quaff;
using nlohmann::ordered_json;

TEST_CASE("what the runs of a method have in common is summed up", "[compare]") {
    const Comparison comparison = made_up::trained();
    const MethodResult &fp = comparison.methods[0], &quaff = comparison.methods[1];
    CHECK(fp.median_seconds() == 0.3);  // of 0.1, 0.2, 0.3, 12, 14
    CHECK(fp.planned_memory() == 31 << 20);
    CHECK(fp.peak_memory() == 90 << 20);
    CHECK(fp.after("loss") == std::vector<double>{1.5, 1.6});
    CHECK(figure(fp.mean_after(), "loss") == Approx(1.55));
    CHECK_FALSE(figure(fp.mean_after(), "rouge_l"));
    CHECK(figure(quaff.mean_after(), "kl_to_fp") == 0.0021);
    CHECK(made_up::timed().methods[0].mean_after().empty());
    CHECK_FALSE(made_up::evaluated().methods[0].median_seconds());
    CHECK(made_up::evaluated().methods[0].peak_memory() == 0);
}

TEST_CASE("a comparison is the same after it was written down", "[compare]") {
    for (const Comparison& comparison : {made_up::evaluated(), made_up::timed(), made_up::trained()}) {
        const ordered_json object = to_json(comparison);
        CHECK(to_json(comparison_of(ordered_json::parse(object.dump()), "compare.json")) == object);
    }
    const ordered_json object = to_json(made_up::trained());
    const ordered_json& fp = object["methods"][0];
    CHECK(fp["before"]["labelled_tokens"].dump() == "2195");
    CHECK(fp["after"]["loss"] == 1.55);
    CHECK(fp["seconds_per_step"] == 0.3);
    CHECK(fp["runs"][1]["seed"] == 1);
    CHECK(object["options"]["methods"] == "fp,quaff");
}

TEST_CASE("a figure that no integer holds stays the same when it is written down", "[compare]") {
    Comparison comparison = made_up::evaluated();
    for (const double value : {0x1p53 - 1, 0x1p53, 1e19, 1e30, -1e30}) {
        comparison.methods[0].before = {{"perplexity", value}};
        const ordered_json object = ordered_json::parse(to_json(comparison).dump());
        CHECK(figure(comparison_of(object, "compare.json").methods[0].before, "perplexity") == value);
    }
}

TEST_CASE("a file that is no comparison is refused by name", "[compare]") {
    ordered_json damaged = to_json(made_up::trained());
    damaged["methods"][1]["runs"][0].erase("step_seconds");
    for (const ordered_json& object : {ordered_json::object(), ordered_json::array(), damaged})
        CHECK_THROWS_WITH(comparison_of(object, "out/compare.json"),
                          Catch::Matchers::StartsWith("out/compare.json: this is no comparison"));
}

TEST_CASE("the first steps of a log do not count, and evaluations are no steps", "[compare]") {
    const test::TempDir folder;
    const auto seconds_of = [&](int steps) {
        std::string log = "{\"eval_loss\": 1}\n";
        for (int step = 1; step <= steps; ++step)
            log += llmc::concat("{\"step\": ", step, ", \"step_seconds\": ", step, "}\n");
        return steady_step_seconds(folder.write("log.jsonl", log));
    };
    CHECK(seconds_of(1) == std::vector<double>{1});
    CHECK(seconds_of(3) == std::vector<double>{2, 3});
    CHECK(seconds_of(7) == std::vector<double>{3, 4, 5, 6, 7});
    CHECK_THROWS_WITH(seconds_of(0), Catch::Matchers::ContainsSubstring("log.jsonl has no step"));
    CHECK_THROWS_AS(steady_step_seconds(folder / "none.jsonl"), llmc::Error);
}
