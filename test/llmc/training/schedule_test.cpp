// Expected values: transformers.get_scheduler's lambdas, whose step k counts from 0.
#include "llmc/training/schedule.h"

#include <cmath>

#include "test/catch.h"

using llmc::LearningRateSchedule, llmc::Schedule, llmc::kScheduleNames;

TEST_CASE("constant is the peak from the first step, without a warm-up", "[schedule]") {
    const LearningRateSchedule schedule(Schedule::constant, 2e-4, 100, 0.5);
    for (const int step : {1, 2, 50, 100, 1000}) CHECK(schedule.at(step) == 2e-4);
}

TEST_CASE("constant_with_warmup climbs from 0 in ceil(T ratio) steps", "[schedule]") {
    const LearningRateSchedule schedule(Schedule::constant_with_warmup, 1.0, 101, 0.03);
    CHECK(schedule.warmup_steps() == 4);
    const double expected[] = {0.0, 0.25, 0.5, 0.75, 1.0, 1.0};
    for (int step = 1; step <= 6; ++step) CHECK(schedule.at(step) == expected[step - 1]);
}

TEST_CASE("linear falls to 1/(T-W) in the last step and to 0 after it", "[schedule]") {
    const LearningRateSchedule schedule(Schedule::linear, 1.0, 10, 0.2);
    const double expected[] = {0.0, 0.5, 1.0, 7 / 8., 6 / 8., 5 / 8., 4 / 8., 3 / 8., 2 / 8., 1 / 8., 0.0, 0.0};
    for (int step = 1; step <= 12; ++step) CHECK(schedule.at(step) == expected[step - 1]);
}

TEST_CASE("cosine is half a wave after the warm-up", "[schedule]") {
    const LearningRateSchedule schedule(Schedule::cosine, 3.0, 8, 0);
    CHECK(schedule.at(1) == 3.0);
    CHECK(schedule.at(3) == Approx(3.0 * 0.5 * (1 + std::sqrt(0.5))));  // cos(pi / 4)
    CHECK(schedule.at(5) == Approx(1.5));
    CHECK(schedule.at(9) == Approx(0.0).margin(1e-15));
}

TEST_CASE("a run that is all warm-up divides by nothing", "[schedule]") {
    for (const auto& [name, kind] : kScheduleNames) {
        CAPTURE(name);
        const LearningRateSchedule schedule(kind, 1.0, 1, 1.0);
        CHECK(std::isfinite(schedule.at(1)));
        CHECK(std::isfinite(schedule.at(2)));
    }
}

TEST_CASE("a schedule has the name that Hugging Face gives it", "[schedule]") {
    CHECK(llmc::value_in(kScheduleNames, "constant_with_warmup") == Schedule::constant_with_warmup);
    CHECK_FALSE(llmc::value_in(kScheduleNames, "polynomial"));
}
