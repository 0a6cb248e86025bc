// Learning-rate schedules by Hugging Face's names, with the semantics of transformers.get_scheduler.
//
//   lr(k) = peak * factor(k), k = optimiser steps already taken: the first step uses factor(0)
//
//   constant               1
//   constant_with_warmup   min(1, k / W)
//   linear                 k / W for k < W, then (T - k) / (T - W), never below 0
//   cosine                 k / W for k < W, then C((k - W) / (T - W)), C(x) = (1 + cos(pi x)) / 2
//   cosine_with_min_lr     k / W for k < W, then M + (1 - M) C((k - W) / (T - W))
//   polynomial             k / W for k < W, then falls on a line to 1e-7 / peak at k = T, where it stays
//   inverse_sqrt           k / W for k < W, then sqrt(Q / (k - W + Q)), Q = W, or 10000 without a warm-up
//   warmup_stable_decay    M + (1 - M) k / W for k < W, then 1, in the last D steps M + (1 - M) C((k - T + D) / D),
//                          after them M
//
// T: steps of the run; W: steps of the warm-up, given, or ceil(T * warmup_ratio); D: steps of the decay; M: the least
// learning rate as a share of the peak. Divisions are by at least 1. `constant` has no warm-up, and with a warm-up the
// first step is taken with learning rate 0, both as in Hugging Face; so are the 1e-7 and the 10000.
#pragma once

#include <cstdint>

#include "llmc/core/named.h"

namespace llmc {

enum class Schedule {
    constant,
    constant_with_warmup,
    linear,
    cosine,
    cosine_with_min_lr,
    polynomial,
    inverse_sqrt,
    warmup_stable_decay
};

inline constexpr Named<Schedule> kScheduleNames[] = {{"constant", Schedule::constant},
                                                     {"constant_with_warmup", Schedule::constant_with_warmup},
                                                     {"linear", Schedule::linear},
                                                     {"cosine", Schedule::cosine},
                                                     {"cosine_with_min_lr", Schedule::cosine_with_min_lr},
                                                     {"polynomial", Schedule::polynomial},
                                                     {"inverse_sqrt", Schedule::inverse_sqrt},
                                                     {"warmup_stable_decay", Schedule::warmup_stable_decay}};

// The learning rate at which `polynomial` ends.
inline constexpr double kPolynomialEnd = 1e-7;

// What only some schedules heed.
struct ScheduleShape {
    int64_t warmup_steps = 0;  // W; 0: the ratio's
    double min_lr_ratio = 0;   // M
    int64_t decay_steps = 0;   // D; 0: a tenth of the steps, rounded up
};

class LearningRateSchedule {
  public:
    LearningRateSchedule(Schedule kind, double peak, int64_t total_steps, double warmup_ratio,
                         const ScheduleShape& shape = {});

    // The learning rate of step `step`, counted from 1.
    double at(int64_t step) const;
    int64_t warmup_steps() const { return warmup_steps_; }
    // Whether a run of more steps would have had other learning rates in its first ones.
    bool depends_on_length() const;

  private:
    Schedule kind_;
    double peak_;
    int64_t total_steps_;
    int64_t warmup_steps_;
    bool warmup_is_share_;  // of the run's steps
    int64_t decay_steps_;
    double least_;  // M
};

}  // namespace llmc
