// What is to be measured on a data set beside the loss of its tokens: the metrics of a task, and the answers
// themselves.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "llmc/data/examples.h"
#include "llmc/data/sampler.h"
#include "quaff/run/examples.h"
#include "quaff/run/metrics/likelihood.h"
#include "quaff/run/options.h"

namespace quaff {

struct Task {
    std::vector<Metric> metrics;  // exact_match is among them where it is counted
    std::string predictions;      // file for a line for each example; empty: none
    int64_t max_answer_tokens = 0;
    TextWindow window;
    int64_t batch_size = 1;

    bool has(Metric metric) const;
    bool answers() const;  // whether the model has to answer the examples
    Task without_predictions() const;
    Task exact_matches_alone() const;  // what an evaluation between two steps counts
};

// Throws UsageError when the data lack what was asked for (chosen_metrics.h), and Error when the model has too few
// positions for an option or a window.
Task plan_task(const Options& options, const Dataset& data, const ExampleReader& reader, const ModelConfig& config,
               Terminal& terminal);

// Raises the limits so that they have room for what the task computes.
void allow_for_task(BatchLimits& limits, const Task& task, const Dataset& data, const ExampleReader& reader,
                    const ModelConfig& config);

// Throws Error if the folder of the file for predictions does not exist. Called before anything is computed.
void check_predictions_file(const std::string& path);

}  // namespace quaff
