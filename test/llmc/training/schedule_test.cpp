// Expected values: transformers.get_scheduler's lambdas, whose step k counts from 0.
#include "llmc/training/schedule.h"

#include <cmath>
#include <vector>

#include "test/catch.h"

using llmc::LearningRateSchedule, llmc::Schedule, llmc::ScheduleShape, llmc::kScheduleNames;

namespace {

// The factors after 0, 1, 2, 3, 5, 7, 8, 9, 10 and 12 of 10 steps.
void check_factors(const LearningRateSchedule& schedule, double peak, const std::vector<double>& expected) {
    const int taken[] = {0, 1, 2, 3, 5, 7, 8, 9, 10, 12};
    REQUIRE(expected.size() == std::size(taken));
    for (size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(taken[i]);
        CHECK(schedule.at(taken[i] + 1) == Approx(peak * expected[i]).epsilon(1e-12).margin(1e-18));
    }
}

}  // namespace

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

TEST_CASE("cosine_with_min_lr falls to its least learning rate", "[schedule]") {
    const LearningRateSchedule schedule(Schedule::cosine_with_min_lr, 2.0, 10, 0.2, {.min_lr_ratio = 0.1});
    check_factors(schedule, 2.0,
                  {0.0, 0.5, 1.0, 0.9657457896300791, 0.7222075445642904, 0.3777924554357096, 0.23180194846605365,
                   0.13425421036992097, 0.1, 0.23180194846605356});
}

TEST_CASE("polynomial falls on a line to 1e-7", "[schedule]") {
    const LearningRateSchedule schedule(Schedule::polynomial, 1e-3, 10, 0.2);
    check_factors(schedule, 1e-3, {0.0, 0.5, 1.0, 0.8750125, 0.6250375, 0.3750625, 0.250075, 0.1250875, 1e-4, 1e-4});
}

TEST_CASE("inverse_sqrt does not depend on the number of steps", "[schedule]") {
    const LearningRateSchedule warm(Schedule::inverse_sqrt, 1.0, 10, 0.2);
    check_factors(warm, 1.0,
                  {0.0, 0.5, 1.0, 0.8164965809277261, 0.6324555320336759, 0.5345224838248488, 0.5, 0.47140452079103173,
                   0.4472135954999579, 0.4082482904638631});
    const LearningRateSchedule cold(Schedule::inverse_sqrt, 1.0, 10, 0);
    check_factors(cold, 1.0,
                  {1.0, 0.9999500037496877, 0.9999000149975006, 0.9998500337415648, 0.9997500937109545,
                   0.9996501836428782, 0.9996002398401119, 0.9995503035223668, 0.9995003746877732, 0.9994005394605663});
}

TEST_CASE("warmup_stable_decay holds the peak until its decay", "[schedule]") {
    const LearningRateSchedule schedule(Schedule::warmup_stable_decay, 1.0, 10, 0.2,
                                        {.min_lr_ratio = 0.1, .decay_steps = 4});
    check_factors(schedule, 1.0, {0.1, 0.55, 1.0, 1.0, 1.0, 0.8681980515339464, 0.55, 0.23180194846605365, 0.1, 0.1});
    // A warm-up that reaches into the decay, given in steps in spite of the ratio.
    const LearningRateSchedule crowded(Schedule::warmup_stable_decay, 1.0, 10, 0.2,
                                       {.warmup_steps = 8, .min_lr_ratio = 0.1, .decay_steps = 4});
    check_factors(crowded, 1.0, {0.1, 0.2125, 0.325, 0.4375, 0.6625, 0.8875, 0.55, 0.23180194846605365, 0.1, 0.1});
    // A tenth of the steps where nothing is said.
    const LearningRateSchedule tenth(Schedule::warmup_stable_decay, 1.0, 20, 0);
    CHECK(tenth.at(19) == 1.0);
    CHECK(tenth.at(20) == Approx(0.5));
}

TEST_CASE("a schedule says whether a run may be prolonged", "[schedule]") {
    for (const auto& [name, kind] : kScheduleNames) {
        for (const ScheduleShape& shape : {ScheduleShape{}, ScheduleShape{.warmup_steps = 3}}) {
            CAPTURE(name, shape.warmup_steps);
            const LearningRateSchedule schedule(kind, 1.0, 20, 0.3, shape), longer(kind, 1.0, 60, 0.3, shape);
            bool differs = false;
            for (int64_t step = 1; step <= 20; ++step) differs = differs || schedule.at(step) != longer.at(step);
            CHECK(schedule.depends_on_length() == differs);
        }
    }
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
    CHECK(llmc::value_in(kScheduleNames, "warmup_stable_decay") == Schedule::warmup_stable_decay);
    CHECK_FALSE(llmc::value_in(kScheduleNames, "wsd"));
}
