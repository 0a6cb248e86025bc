// Learning-rate schedules by Hugging Face's names, with the semantics of transformers.get_scheduler.
//
//   lr(k) = peak * factor(k), k = optimiser steps already taken: the first step uses factor(0)
//
//   constant               1
//   constant_with_warmup   min(1, k / W)
//   linear                 k / W for k < W, then (T - k) / (T - W), never below 0
//   cosine                 k / W for k < W, then (1 + cos(pi (k - W) / (T - W))) / 2
//
// T: steps of the run; W = ceil(T * warmup_ratio) warm-up steps (divisions are by at least 1). `constant` has no
// warm-up, and with a warm-up the first step is taken with learning rate 0, both as in Hugging Face.
#pragma once

#include <cstdint>

#include "llmc/core/named.h"

namespace llmc {

enum class Schedule { constant, constant_with_warmup, linear, cosine };

inline constexpr Named<Schedule> kScheduleNames[] = {{"constant", Schedule::constant},
                                                     {"constant_with_warmup", Schedule::constant_with_warmup},
                                                     {"linear", Schedule::linear},
                                                     {"cosine", Schedule::cosine}};

class LearningRateSchedule {
  public:
    LearningRateSchedule(Schedule kind, double peak, int64_t total_steps, double warmup_ratio);

    // The learning rate of step `step`, counted from 1.
    double at(int64_t step) const;
    int64_t warmup_steps() const { return warmup_steps_; }

  private:
    Schedule kind_;
    double peak_;
    int64_t total_steps_;
    int64_t warmup_steps_;
};

}  // namespace llmc
