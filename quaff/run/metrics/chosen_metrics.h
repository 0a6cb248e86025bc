// Which metrics of a task are taken: those asked for, or else those of the data's format.
#pragma once

#include <string>
#include <vector>

#include "llmc/data/examples.h"
#include "llmc/metrics/metric.h"
#include "llmc/system/terminal.h"
#include "quaff/run/options.h"

namespace quaff {

using namespace llmc;

// In the order of llmc/metrics/metric.h. Throws UsageError when the examples do not have what a metric that was asked
// for compares; one of the format's is left out with a warning.
std::vector<Metric> chosen_metrics(const DataOptions& options, const Dataset& data, bool train_on_source,
                                   Terminal& terminal);

}  // namespace quaff
