#include "llmc/training/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace llmc {

LearningRateSchedule::LearningRateSchedule(Schedule kind, double peak, int64_t total_steps, double warmup_ratio)
    : kind_(kind), peak_(peak), total_steps_(total_steps) {
    warmup_steps_ = kind == Schedule::constant
                        ? 0
                        : static_cast<int64_t>(std::ceil(static_cast<double>(total_steps) * warmup_ratio));
}

double LearningRateSchedule::at(int64_t step) const {
    const auto taken = static_cast<double>(step - 1);
    if (step - 1 < warmup_steps_) return peak_ * (taken / static_cast<double>(warmup_steps_));
    const auto after_warmup = static_cast<double>(std::max<int64_t>(1, total_steps_ - warmup_steps_));
    switch (kind_) {
        case Schedule::constant:
        case Schedule::constant_with_warmup:
            return peak_;
        case Schedule::linear:
            return peak_ * std::max(0.0, (static_cast<double>(total_steps_) - taken) / after_warmup);
        case Schedule::cosine: {
            const double progress = (taken - static_cast<double>(warmup_steps_)) / after_warmup;
            return peak_ * std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * progress)));
        }
    }
    return peak_;
}

}  // namespace llmc
