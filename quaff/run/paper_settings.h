// The settings of the publication, which belong to the method quaff-paper: momentum scaling of few channels with
// gamma = 0.1, chosen by mean_times 100 and at most 1% of a layer, without rotation. Huang and Wu 2025, arXiv
// 2505.14742.
#pragma once

#include "quaff/files/outliers.h"
#include "quaff/run/options.h"

namespace quaff {

// The options with these settings in place of their own.
Options with_paper_settings(const Options& options);

// Throws UsageError if the channels say that they were found in another way. `origin` names where they come from.
void require_paper_channels(const OutlierChannels& outliers, const std::string& origin);

}  // namespace quaff
