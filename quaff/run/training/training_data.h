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
#include "quaff/run/options.h"

namespace quaff {

struct TrainingData {
    Dataset train, eval;
    bool exact_match = false;
};

// Reads --data and --eval-data, or holds the split out of --data.
TrainingData read_training_data(const Options& options, const ExampleReader& reader, Terminal& terminal);

struct StepPlan {
    Sampler sampler;
    LearningRateSchedule schedule;
    int64_t total_steps;
    int64_t window;                                  // micro-batches of a step, of all ranks
    std::vector<std::vector<int64_t>> eval_batches;  // positions in data.eval
    BatchLimits limits;                              // of training, evaluation and answers
};

// `window`: micro-batches of a step, of all ranks. The limits leave room for the answers to the evaluation examples
// (answers.h).
StepPlan plan_steps(const Options& options, const TrainingData& data, const ExampleReader& reader,
                    const ModelConfig& config, int64_t window);

}  // namespace quaff
