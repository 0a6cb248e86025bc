// Dynamic loss scaling: fp16 gradients are computed of loss * scale, which keeps them above fp16's smallest number,
// 6e-8.
//
// A step whose gradient overflows is skipped and the scale halved; after kGrowAfter steps without overflow it is
// doubled. If the gradient is not finite even with a scale of 1, the scale is not to blame: the run diverges, and an
// error says so. Micikevicius et al. 2018, arXiv 1710.03740.
#pragma once

#include <cstdint>

namespace llmc {

struct LossScale {
    static constexpr double kFirst = 65536, kLargest = 16777216;
    static constexpr int64_t kGrowAfter = 1000;

    bool active = false;     // if not, the scale stays 1
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

    // The step's gradient was not finite. True: skip the step. False: the scale is 1 and cannot be to blame.
    bool step_overflowed() {
        if (!active || value <= 1) return false;
        value /= 2;
        good_steps = 0;
        skipped++;
        return true;
    }
};

}  // namespace llmc
