// Measures the metrics of a task over a data set (llmc/metrics/metric.h), example by example.
//
// An example's prompt is its ids before its first label. The model answers it once, by greedy decoding, and every
// metric that compares answers has the same one. The ranks share the examples.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "quaff/model/model.h"
#include "quaff/run/evaluation.h"
#include "quaff/run/examples.h"
#include "quaff/run/metrics/metric_value.h"
#include "quaff/run/metrics/task.h"
#include "quaff/run/starting_point.h"

namespace quaff {

struct TaskResult {
    std::vector<MetricValue> values;  // of all metrics but exact_match, the same on every rank
    std::string predictions;          // JSON lines, on the first rank
};

// `is_exact`: whether the answer to each example is an exact match, where they were counted. `progress` is called
// before every pass and may throw.
template <class Device>
TaskResult measure(Model<Device>& model, const Task& task, const Dataset& data, const ExampleReader& reader,
                   std::span<const int64_t> is_exact, const std::function<void(int64_t done, int64_t total)>& progress);

// The loss of all labelled tokens (evaluate.h, which says what `batches` and `reference` are) and the task's metrics.
// The first rank writes the predictions.
template <class Device>
Evaluation evaluate_task(Model<Device>& model, const Dataset& data, const std::vector<std::vector<int64_t>>& batches,
                         const Task& task, const ExampleReader& reader, const Progress& progress,
                         Model<Device>* reference = nullptr);

}  // namespace quaff
