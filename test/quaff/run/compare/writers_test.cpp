// What a comparison looks like: the table, the Markdown and the chart of made-up results.
#include <sstream>

#include "quaff/run/compare/chart.h"
#include "quaff/run/compare/table.h"
#include "quaff/run/evaluation.h"
#include "test/catch.h"
#include "test/quaff/run/compare/made_up.h"

using namespace quaff;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("the table of a comparison shows what is known", "[compare]") {
    CHECK(comparison_table(made_up::evaluated()) ==
          "method          KL to fp    loss  tokens   exact  s/step    planned       peak\n"
          "before training\n"
          " fp                    0  3.6812   25.0%    9.7%       -          -          -\n"
          " quaff           4.77e-3  3.6900   25.0%    9.7%       -          -          -\n");
    CHECK(comparison_table(made_up::timed()) ==
          "method          KL to fp    loss  tokens   exact  s/step    planned       peak\n"
          "before training\n"
          " fp                    0  3.6812   25.0%    9.7%  0.2000  30.00 MiB  90.00 MiB\n"
          " quaff           4.77e-3  3.6900   25.0%    9.7%  0.1000  20.00 MiB  70.00 MiB\n");
    CHECK(comparison_table(made_up::trained()) ==
          "method          KL to fp    loss  tokens   exact  s/step    planned       peak\n"
          "before training\n"
          " fp                    0  3.6812   25.0%    9.7%\n"
          " quaff           4.77e-3  3.6900   25.0%    9.7%\n"
          "after 50 steps, mean of 2 seeds\n"
          " fp                    0  1.5500   25.0%    9.7%  0.3000  31.00 MiB  90.00 MiB\n"
          " quaff            2.1e-3  1.5200   25.0%    9.7%  0.1000  20.00 MiB  70.00 MiB\n");
}

TEST_CASE("the table fits 80 columns and shows data without metrics of their own", "[compare]") {
    Comparison comparison = made_up::trained();
    comparison.methods[0].method = "smooth-dynamic";
    for (MethodResult& result : comparison.methods) {
        result.before.pop_back();
        result.before[0].second = 12.3456;  // loss
        result.before[5].second = 0.123;    // KL
        for (TrainedRun& run : result.runs) run.peak_memory = run.planned_memory = (int64_t{1} << 30) - 1;
    }
    std::istringstream table(comparison_table(comparison));
    for (std::string line; std::getline(table, line);) {
        INFO(line);
        CHECK(line.size() <= 80);
        CHECK_FALSE(line.ends_with(' '));
    }
    for (MethodResult& result : comparison.methods) result.before.emplace_back("word_perplexity", 23.456);
    CHECK_THAT(comparison_table(comparison), ContainsSubstring("word"));
    CHECK_THAT(comparison_table(comparison), ContainsSubstring("23.46"));
    // Nothing has been measured.
    CHECK_THAT(comparison_table({}), ContainsSubstring("before training\n"));
}

TEST_CASE("compare.md has all figures, their range over the seeds, and the commands", "[compare]") {
    CHECK(comparison_markdown(made_up::trained()) ==
          "# Methods compared on models/small\n"
          "\n"
          "2,195 labelled tokens of 700 examples. KL to fp: the mean over the labelled tokens of KL(p_fp || p_method), "
          "in nats; fp is the same model, with the same adapter, in full precision. Seconds: the median of all steps "
          "but the first ones of a run; the runs of the methods alternate. Memory: of a training step.\n"
          "\n"
          "## Before training\n"
          "\n"
          "| method | KL to fp | loss | perplexity | token accuracy | exact match |\n"
          "| --- | ---: | ---: | ---: | ---: | ---: |\n"
          "| fp | 0 | 3.6812 | 4.5 | 25.0% | 9.7% |\n"
          "| quaff | 4.77e-3 | 3.6900 | 4.5 | 25.0% | 9.7% |\n"
          "\n"
          "## After 50 steps, mean of 2 seeds\n"
          "\n"
          "| method | KL to fp | loss | perplexity | token accuracy | exact match |\n"
          "| --- | ---: | ---: | ---: | ---: | ---: |\n"
          "| fp | 0 (0 to 0) | 1.5500 (1.5000 to 1.6000) | 4.5 (4.5 to 4.5) | 25.0% (25.0% to 25.0%) | "
          "9.7% (9.7% to 9.7%) |\n"
          "| quaff | 2.1e-3 | 1.5200 | 4.5 | 25.0% | 9.7% |\n"
          "\n"
          "## A step\n"
          "\n"
          "| method | seconds | times those of fp | planned memory | peak memory |\n"
          "| --- | ---: | ---: | ---: | ---: |\n"
          "| fp | 0.3000 | 1.00 | 31.00 MiB | 90.00 MiB |\n"
          "| quaff | 0.1000 | 0.33 | 20.00 MiB | 70.00 MiB |\n"
          "\n"
          "## Commands\n"
          "\n"
          "```sh\n"
          "./train_quaff eval --method fp\n"
          "./train_quaff eval --method quaff\n"
          "```\n");
    const std::string unknown = comparison_markdown(made_up::evaluated());
    CHECK_THAT(unknown, ContainsSubstring("| fp | - | - | - | - |\n"));
    CHECK_THAT(unknown, !ContainsSubstring("## After"));
}

TEST_CASE("compare.svg has a disc for each method whose figures are known", "[compare]") {
    const std::string chart = comparison_chart(made_up::timed());
    CHECK_THAT(chart, Catch::Matchers::StartsWith("<svg xmlns="));
    CHECK_THAT(chart, Catch::Matchers::EndsWith("</svg>\n"));
    CHECK_THAT(chart, ContainsSubstring("prefers-color-scheme: dark"));
    // Across, 0 to 0.2 s is 80 to 730; up, 0 to 8e-3 is 380 to 60. The area of 70 is 7/9 of that of 90.
    CHECK_THAT(chart, ContainsSubstring("<circle class=\"disc\" cx=\"730.0\" cy=\"380.0\" r=\"36.0\">"
                                        "<title>fp: 0.2 s, KL 0, 90.00 MiB</title></circle>\n"
                                        "  <text x=\"690.0\" y=\"384.0\" text-anchor=\"end\">fp</text>\n"));
    CHECK_THAT(chart, ContainsSubstring("<circle class=\"disc\" cx=\"405.0\" cy=\"189.2\" r=\"31.7\">"
                                        "<title>quaff: 0.1 s, KL 4.77e-3, 70.00 MiB</title></circle>\n"
                                        "  <text x=\"440.7\" y=\"193.2\">quaff</text>\n"));
    CHECK_THAT(comparison_chart(made_up::evaluated()), !ContainsSubstring("<circle"));
    CHECK_THAT(comparison_chart({}), Catch::Matchers::EndsWith("</svg>\n"));
    CHECK_THAT(comparison_chart(made_up::trained()), ContainsSubstring("KL 2.1e-3"));
}

TEST_CASE("a divergence is written in thousandths", "[compare]") {
    CHECK(format_divergence(0.002354) == "2.35e-3");
    CHECK(format_divergence(0.0281) == "28.1e-3");
    CHECK(format_divergence(0.4) == "400e-3");
    CHECK(format_divergence(1.5) == "1.5");
    CHECK(format_divergence(0) == "0");
    CHECK(format_divergence(2e-9) == "2e-09");
}
