#include "llmc/training/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace llmc {

namespace {

// Half a wave, from 1 at x = 0 to `least` at x = 1.
double half_wave(double x, double least) {
    return std::max(0.0, least + (1.0 - least) * 0.5 * (1.0 + std::cos(std::numbers::pi * x)));
}

}  // namespace

LearningRateSchedule::LearningRateSchedule(Schedule kind, double peak, int64_t total_steps, double warmup_ratio,
                                           const ScheduleShape& shape)
    : kind_(kind), peak_(peak), total_steps_(total_steps), least_(shape.min_lr_ratio) {
    const auto share = [&](double ratio) {
        return static_cast<int64_t>(std::ceil(static_cast<double>(total_steps) * ratio));
    };
    warmup_steps_ = kind == Schedule::constant ? 0 : shape.warmup_steps > 0 ? shape.warmup_steps : share(warmup_ratio);
    warmup_is_share_ = kind != Schedule::constant && shape.warmup_steps == 0 && warmup_ratio > 0;
    decay_steps_ = shape.decay_steps > 0 ? shape.decay_steps : share(0.1);
}

double LearningRateSchedule::at(int64_t step) const {
    const auto taken = static_cast<double>(step - 1), total = static_cast<double>(total_steps_);
    const auto warmup = static_cast<double>(warmup_steps_);
    if (step - 1 < warmup_steps_) {
        const double from = kind_ == Schedule::warmup_stable_decay ? least_ : 0;
        return peak_ * (from + (1.0 - from) * (taken / warmup));
    }
    const auto after_warmup = static_cast<double>(std::max<int64_t>(1, total_steps_ - warmup_steps_));
    const double progress = (taken - warmup) / after_warmup;
    switch (kind_) {
        case Schedule::constant:
        case Schedule::constant_with_warmup:
            return peak_;
        case Schedule::linear:
            return peak_ * std::max(0.0, (total - taken) / after_warmup);
        case Schedule::cosine:
            return peak_ * half_wave(progress, 0);
        case Schedule::cosine_with_min_lr:
            return peak_ * half_wave(progress, least_);
        case Schedule::polynomial: {
            const double end = std::min(peak_, kPolynomialEnd);
            return progress > 1 ? end : (peak_ - end) * (1.0 - progress) + end;
        }
        case Schedule::inverse_sqrt: {
            const double scale = warmup_steps_ > 0 ? warmup : 10000;
            return peak_ * std::sqrt(scale / (taken - warmup + scale));
        }
        case Schedule::warmup_stable_decay: {
            if (step - 1 >= total_steps_) return peak_ * least_;
            const auto decay = static_cast<double>(decay_steps_);
            return peak_ * half_wave(std::max(0.0, (taken - total + decay) / decay), least_);
        }
    }
    return peak_;
}

bool LearningRateSchedule::depends_on_length() const {
    const bool has_end =
        kind_ != Schedule::constant && kind_ != Schedule::constant_with_warmup && kind_ != Schedule::inverse_sqrt;
    return has_end || warmup_is_share_;
}

}  // namespace llmc
