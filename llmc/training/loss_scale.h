// Dynamic loss scaling: gradients in fp16 are computed of loss * scale, so that they stay above its smallest numbers,
// 6e-8.
//
// A step whose gradient overflows is skipped and the scale halved; after kGrowAfter steps that did not overflow it is
// doubled. A gradient that is not finite even with a scale of 1 is no overflow of the scale's making: it is divergence,
// and is told as such. Micikevicius et al. 2018, arXiv 1710.03740.
#pragma once

#include <cstdint>

namespace llmc {

struct LossScale {
    static constexpr double kFirst = 65536, kLargest = 16777216;
    static constexpr int64_t kGrowAfter = 1000;

    bool active = false;     // otherwise the scale is one and stays so
    double value = 1;        // a power of two: scaling and unscaling round nothing
    int64_t good_steps = 0;  // since the scale last changed
    int64_t skipped = 0;     // in the whole run

    void start() {
        active = true;
        value = kFirst;
        good_steps = 0;
    }
    void stop() {
        active = false;
        value = 1;
    }

    // The step's gradient was finite.
    void step_taken() {
        if (!active || ++good_steps < kGrowAfter) return;
        good_steps = 0;
        if (value < kLargest) value *= 2;
    }

    // It was not. False when there is nothing left to blame the scale for; otherwise the step is to be skipped.
    bool step_overflowed() {
        if (!active || value <= 1) return false;
        value /= 2;
        good_steps = 0;
        skipped++;
        return true;
    }
};

}  // namespace llmc
