// The live line of training and the pace of a log's lines.
#include "quaff/run/training/live_line.h"

#include "test/catch.h"

using namespace quaff;

namespace {

LiveFigures figures_at(int64_t step, int64_t total) {
    return {.step = step,
            .total_steps = total,
            .epoch = 0.5,
            .loss = 0.12344,
            .tokens_per_second = 12345,
            .peak_memory = int64_t{2} << 30,
            .seconds_left = 185};
}

}  // namespace

TEST_CASE("the live line fits the width and drops the least important first", "[report]") {
    const LiveFigures figures = figures_at(525, 1050);
    CHECK(live_line(figures, 120) ==
          "[###############...............]  525/1050  epoch 0.50  loss 0.1234  12,345 tokens/s  peak 2.00 GiB  "
          "ETA 3m05s");
    CHECK(live_line(figures, 80) == "[#######.......]  525/1050  epoch 0.50  loss 0.1234  12,345 tokens/s  ETA 3m05s");
    CHECK(live_line(figures, 39) == "525/1050  loss 0.1234  ETA 3m05s");
    CHECK(live_line(figures, 40) == "[#..]  525/1050  loss 0.1234  ETA 3m05s");
    CHECK(live_line(figures, 0) == live_line(figures, 200));
}

TEST_CASE("no live line is as wide as the terminal, and the count is always there", "[report]") {
    for (const int columns : {40, 80, 120})
        for (const int64_t steps : {1, 1050, 100000})
            for (const double loss : {0.0, 2.5, 123456.0}) {
                LiveFigures figures = figures_at(steps, steps);
                figures.loss = loss;
                figures.seconds_left = 39720;
                const std::string line = live_line(figures, columns);
                CAPTURE(line, columns);
                CHECK(line.size() < static_cast<size_t>(columns));
                CHECK(line.find(std::to_string(steps) + "/" + std::to_string(steps)) != line.npos);
            }
}

TEST_CASE("the smoothed loss is the exponential mean of those so far", "[report]") {
    SmoothedLoss smoothed;
    CHECK(smoothed.update(4) == 4);
    CHECK(smoothed.update(2) == Approx((0.9 * 4 + 2) / 1.9));
    for (int i = 0; i < 400; ++i) smoothed.update(1);
    CHECK(smoothed.update(1) == Approx(1).margin(1e-12));  // 0.9^400 of what was before
}

TEST_CASE("a log has at most a line a second, and the last step's", "[report]") {
    LinePace log(0, /*is_log=*/true);
    CHECK(log.is_due(1, 10, 5.0));
    CHECK_FALSE(log.is_due(2, 10, 5.9));
    CHECK(log.is_due(3, 10, 6.0));
    CHECK_FALSE(log.is_due(4, 10, 6.5));
    CHECK(log.is_due(10, 10, 6.6));
    LinePace beside_live_line(0, /*is_log=*/false);
    CHECK_FALSE(beside_live_line.is_due(10, 10, 100));
    for (const bool is_log : {false, true}) {
        LinePace every(5, is_log);
        CHECK_FALSE(every.is_due(4, 12, 0));
        CHECK(every.is_due(5, 12, 0));
        CHECK(every.is_due(10, 12, 0));
        CHECK_FALSE(every.is_due(12, 12, 100));
    }
}
