// The value of --metrics.
#pragma once

#include <string>
#include <vector>

#include "llmc/metrics/metric.h"

namespace quaff {

// Values of DataOptions::metrics that are no list.
inline constexpr const char *kMetricsOfFormat = "auto", *kNoMetrics = "none";

// The metrics of a list of names, "rouge_l, exact_match", each once, in the order of llmc/metrics/metric.h. Throws
// UsageError for another name.
std::vector<llmc::Metric> parse_metrics(const std::string& list);

}  // namespace quaff
