// What a run trains and evaluates on, and how that is cut into steps.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "llmc/data/examples.h"
#include "llmc/data/sampler.h"
#include "llmc/system/terminal.h"
#include "llmc/training/schedule.h"
#include "quaff/run/examples.h"
#include "quaff/run/metrics/task.h"
#include "quaff/run/options.h"

namespace quaff {

struct TrainingData {
    Dataset train, eval;
    Task task;  // what is measured on `eval` before and after training
};

// Reads --data and --eval-data, or holds the split out of --data.
TrainingData read_training_data(const Options& options, const ModelConfig& config, const ExampleReader& reader,
                                Terminal& terminal);

struct StepPlan {
    Sampler sampler;
    LearningRateSchedule schedule;
    int64_t total_steps;
    int64_t window;                                  // micro-batches of a step, of all ranks
    std::vector<std::vector<int64_t>> eval_batches;  // positions in data.eval
    BatchLimits limits;                              // of training, evaluation, its task and answers
};

// `window`: micro-batches of a step, of all ranks. The limits leave room for the answers to the evaluation examples
// (answers.h).
StepPlan plan_steps(const Options& options, const TrainingData& data, const ExampleReader& reader,
                    const ModelConfig& config, int64_t window);

// AdamW of a step with this learning rate.
AdamWOptions adamw_options(const TrainingOptions& training, double learning_rate);

// Tells of a schedule whose learning rate is 0 in every step.
void tell_idle_schedule(const StepPlan& steps, Schedule schedule, Terminal& terminal);

}  // namespace quaff
