#include "llmc/training/loss_scale.h"

#include "test/catch.h"

using llmc::LossScale;

TEST_CASE("an overflow halves the loss scale and skips the step, until there is no scale to blame", "[loss_scale]") {
    LossScale scale;
    scale.start();
    scale.value = 4;
    CHECK(scale.step_overflowed());
    CHECK(scale.value == 2);
    CHECK(scale.step_overflowed());
    CHECK(scale.value == 1);
    CHECK_FALSE(scale.step_overflowed());
    CHECK(scale.value == 1);
    CHECK(scale.skipped == 2);
    for (int64_t i = 0; i < LossScale::kGrowAfter; i++) scale.step_taken();
    CHECK(scale.value == 2);  // it may grow again from 1
}

TEST_CASE("the loss scale doubles after enough steps without an overflow, up to a bound", "[loss_scale]") {
    LossScale scale;
    scale.start();
    scale.value = LossScale::kLargest / 2;
    for (int64_t i = 0; i < LossScale::kGrowAfter - 1; i++) scale.step_taken();
    CHECK(scale.value == LossScale::kLargest / 2);
    CHECK(scale.step_overflowed());  // the count starts anew
    for (int64_t i = 0; i < LossScale::kGrowAfter - 1; i++) scale.step_taken();
    CHECK(scale.value == LossScale::kLargest / 4);
    for (int64_t i = 0; i < 5 * LossScale::kGrowAfter; i++) scale.step_taken();
    CHECK(scale.value == LossScale::kLargest);
}

TEST_CASE("a loss that is not scaled stays so", "[loss_scale]") {
    LossScale scale;
    for (int64_t i = 0; i < 2 * LossScale::kGrowAfter; i++) scale.step_taken();
    CHECK(scale.value == 1);
    CHECK_FALSE(scale.step_overflowed());
}

TEST_CASE("a run that goes on without scaling keeps its count of skipped steps", "[loss_scale]") {
    LossScale scale;
    scale.start();
    CHECK(scale.value == LossScale::kFirst);
    REQUIRE(scale.step_overflowed());
    scale.stop();
    CHECK(scale.value == 1);
    CHECK(scale.skipped == 1);
}
