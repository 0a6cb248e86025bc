// report.html: what it holds, how large it gets, and what it makes of a log that somebody else has touched.
#include "quaff/run/report/page.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "quaff/run/report/curve.h"
#include "test/catch.h"
#include "test/files.h"

using namespace quaff;
using namespace test;
using Catch::Matchers::ContainsSubstring;
using llmc::concat;

namespace {

namespace fs = std::filesystem;

std::string step_line(int64_t step, double loss) {
    return nlohmann::json{{"step", step},
                          {"loss", loss},
                          {"grad_norm", 1 + std::sin(static_cast<double>(step))},
                          {"learning_rate", 1e-4},
                          {"tokens_per_second", 1000 + step % 7},
                          {"sol", 0.4},
                          {"peak_memory_bytes", 1 << 30},
                          {"planned_memory_bytes", 2 << 29}}
               .dump() +
           "\n";
}

std::string evaluation_line(int64_t step, double loss) {
    return nlohmann::json{{"step", step}, {"eval_loss", loss}, {"eval_token_accuracy", 0.5}}.dump() + "\n";
}

// A run of that many steps, with a spike of the loss to 97 in the middle and an evaluation before, after, and every
// hundred steps.
fs::path make_run(const std::string& name, int64_t steps) {
    const fs::path folder = fresh_folder(name);
    std::string log = evaluation_line(0, 4);
    for (int64_t step = 1; step <= steps; ++step) {
        log += step_line(step, step == steps / 2 ? 97 : 3 / std::sqrt(static_cast<double>(step)));
        if (step % 100 == 0 || step == steps) log += evaluation_line(step, 2);
    }
    write_text(folder / "log.jsonl", log);
    return folder;
}

size_t count(const std::string& text, const std::string& part) {
    size_t n = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) n++;
    return n;
}

}  // namespace

TEST_CASE("decimation keeps the ends, the extremes and the order", "[report]") {
    std::vector<Point> points;
    for (int i = 0; i < 100'000; ++i) points.push_back({i * 1.0, std::sin(i * 0.01)});
    points[31'234].y = 55, points[77'777].y = -44;
    const std::vector<Point> kept = decimate(points, 300);
    CHECK(kept.size() <= 602);
    CHECK(kept.front().x == 0);
    CHECK(kept.back().x == 99'999);
    CHECK(std::ranges::any_of(kept, [](const Point& p) { return p.x == 31'234 && p.y == 55; }));
    CHECK(std::ranges::any_of(kept, [](const Point& p) { return p.x == 77'777 && p.y == -44; }));
    CHECK(std::ranges::is_sorted(kept, {}, &Point::x));
    points.resize(602);
    CHECK(decimate(points, 300).size() == 602);  // few enough as they are
}

TEST_CASE("smoothing starts without a bias and keeps a constant", "[report]") {
    for (const Point& point : smooth({{1, 3}, {2, 3}, {3, 3}}, 50)) CHECK(point.y == Approx(3));
    const std::vector<Point> mean = smooth({{1, 4}, {2, NAN}, {3, 0}}, 3);  // beta 1/2; NaN is left out
    REQUIRE(mean.size() == 2);
    CHECK(mean[0].y == Approx(4));
    CHECK(mean[1].y == Approx(4.0 / 3));  // (4/4 + 0/2) / (3/4)
}

TEST_CASE("ticks are round and span the values", "[report]") {
    for (const auto& [low, high] :
         std::vector<std::pair<double, double>>{{0, 1}, {0.0297, 3.6785}, {-7, 123'456}, {2e-4, 2.1e-4}, {0, 1e-9}}) {
        CAPTURE(low, high);
        const std::vector<double> marks = ticks(low, high, 4);
        CHECK(marks.size() >= 3);
        CHECK(marks.size() <= 8);
        CHECK(marks.front() <= low + 1e-12);
        CHECK(marks.back() >= high - 1e-9 * (high - low));
    }
}

TEST_CASE("text of a run is escaped", "[report]") {
    const fs::path folder = make_run("<img src=x onerror=alert(1)>", 3);
    write_text(folder / "log.jsonl",
               test::read(folder / "log.jsonl") + "{\"step\": 3, \"eval_<script>alert(2)</script>\": 1}\n");
    write_text(folder / "config.toml", "model = \"<b>'; rm -rf / #\"\nmethod = \"</style><script>\"\n");
    const RunLog log(folder);
    const std::string page = report_page({&log});
    for (const char* raw : {"<img src=x", "<script", "<b>'", "</style><s"}) CHECK(page.find(raw) == std::string::npos);
    CHECK_THAT(page, ContainsSubstring("--model &#39;&lt;b&gt;&#39;\\&#39;&#39;; rm -rf / #&#39;"));  // one word
}

TEST_CASE("a page of 3 steps shows each of them", "[report]") {
    const RunLog log(make_run("three", 3));
    REQUIRE(log.steps().size() == 3);
    CHECK(log.evaluations().size() == 2);
    CHECK(log.skipped().empty());
    const std::string page = report_page({&log});
    for (const char* title :
         {"Loss", "Gradient norm", "Learning rate", "Tokens a second", "Share of the speed of light",
          "Memory taken; dashed: planned", "Evaluation: loss", "Evaluation: token accuracy"})
        CHECK_THAT(page, ContainsSubstring(concat("<figcaption>", title, "</figcaption>")));
    for (const char* dot : {"loss, step 1: 97", "loss, step 3: 1.732"}) CHECK_THAT(page, ContainsSubstring(dot));
    CHECK(count(page, "smoothed") == 0);
    for (const char* command : {"train --resume --out ", "eval --model DIR --adapter ", "generate ", "merge "})
        CHECK_THAT(page, ContainsSubstring(concat("./train_quaff ", command)));
    for (const char* outside : {"http:", "https:", "<script", "src=", "Lnan", ">nan", "\"nan", ">inf"})
        CHECK(page.find(outside) == std::string::npos);
}

TEST_CASE("a page of 100,000 steps stays small and keeps its spike", "[report]") {
    const RunLog log(make_run("long", 100'000));
    CHECK(log.steps().size() == 100'000);
    const std::string page = report_page({&log});
    CHECK(page.size() < 1'000'000);
    CHECK_THAT(page, ContainsSubstring("smoothed"));
    CHECK_THAT(page, ContainsSubstring("<td>100000</td>"));
    CHECK_THAT(page, ContainsSubstring("of 1001 evaluations"));
    CHECK_THAT(page, ContainsSubstring(">100</text>"));  // the axis reaches over the spike
}

TEST_CASE("several runs share the charts, and many stay small", "[report]") {
    std::vector<RunLog> logs;
    for (size_t i = 0; i < kMostRuns; ++i) logs.emplace_back(make_run("run" + std::to_string(i), 2000));
    const std::string two = report_page({&logs[0], &logs[1]});
    for (const char* part : {"run0", "run1", "run1: loss", "line c1"}) CHECK_THAT(two, ContainsSubstring(part));
    CHECK(count(two, "<figcaption>Loss</figcaption>") == 1);
    std::vector<const RunLog*> all;
    for (const RunLog& log : logs) all.push_back(&log);
    CHECK(report_page(all).size() < 1'000'000);
}

TEST_CASE("a log is read as far as it can be", "[report]") {
    const fs::path folder = fresh_folder("torn");
    const std::string torn = step_line(3, 1);
    write_text(folder / "log.jsonl", step_line(1, 3) + "not JSON\n{\"step\": \"x\"}\n[1]\n" + step_line(2, 2) +
                                         "{\"step\": 2, \"replaced_outlier_channels\": 4}\n"
                                         "{\"step\": 2, \"warning\": \"no checkpoint\"}\n" +
                                         torn.substr(0, 20));
    RunLog log(folder);
    CHECK(log.steps().size() == 2);
    CHECK_THAT(log.skipped(), ContainsSubstring("3 lines of ") &&
                                  ContainsSubstring("neither steps nor evaluations (the first is line 2)") &&
                                  ContainsSubstring("it ends in the middle of a line, skipped"));
    CHECK_THAT(report_page({&log}), ContainsSubstring("the first is line 2"));
    // The writer goes on.
    write_text(folder / "log.jsonl", test::read(folder / "log.jsonl") + torn.substr(20) + step_line(4, 0.5));
    log.read_on();
    REQUIRE(log.steps().size() == 4);
    CHECK(log.steps()[2].loss == 1);
    CHECK(log.skipped().find("middle") == std::string::npos);
    // A step that is taken again, as after a resume.
    write_text(folder / "log.jsonl", test::read(folder / "log.jsonl") + step_line(3, 7));
    log.read_on();
    REQUIRE(log.steps().size() == 3);
    CHECK(log.steps()[2].loss == 7);
    // Begun anew.
    write_text(folder / "log.jsonl", step_line(1, 9));
    log.read_on();
    REQUIRE(log.steps().size() == 1);
    CHECK(log.steps()[0].loss == 9);
}

TEST_CASE("the evaluation of a best checkpoint stands at its own step alone", "[report]") {
    const fs::path folder = make_run("loaded_best", 3);
    const auto after_training = [&](int64_t best) {
        return nlohmann::json{{"step", 3}, {"eval_loss", 1.0}, {"best_step", best}}.dump() + "\n";
    };
    const std::string log = read(folder / "log.jsonl");
    write_text(folder / "log.jsonl", log + after_training(2));
    CHECK(RunLog(folder).evaluations().back().figures.at("loss") == 2);
    CHECK(RunLog(folder).skipped().empty());
    write_text(folder / "log.jsonl", log + after_training(3));
    CHECK(RunLog(folder).evaluations().back().figures.at("loss") == 1);
}

TEST_CASE("a folder without a log is refused", "[report]") {
    const fs::path folder = fresh_folder("no_log");
    CHECK_THROWS_WITH(RunLog(folder), ContainsSubstring("has no log.jsonl: name the folder of a training run"));
    CHECK_THROWS_WITH(RunLog(folder / "x"), ContainsSubstring("does not exist"));
    write_text(folder / "file", "");
    CHECK_THROWS_WITH(RunLog(folder / "file"), ContainsSubstring("it is a file"));
    write_text(folder / "log.jsonl", "");
    const RunLog empty(folder);
    CHECK_THAT(report_page({&empty}), ContainsSubstring("No step has been taken yet"));
}

TEST_CASE("the heat map of outlier channels is embedded", "[report]") {
    const fs::path folder = make_run("ossh", 3);
    write_text(folder / "ossh.svg", "<svg/>");
    const RunLog log(folder);
    CHECK_THAT(report_page({&log}), ContainsSubstring("data:image/svg+xml;base64,PHN2Zy8+\""));
}
