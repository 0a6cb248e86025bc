// What a method settles of the options.
//
//   quaff-paper     the publication's settings: momentum scaling of few channels with gamma = 0.1, chosen by mean_times
//                   100 and at most 1% of a layer, without rotation. Huang and Wu 2025, arXiv 2505.14742.
//   smooth-static   calibration keeps all channels, with their maxima
#pragma once

#include "quaff/files/outliers.h"
#include "quaff/run/options.h"

namespace quaff {

// The options with these settings in place of their own.
Options with_paper_settings(const Options& options);

// How calibration finds the channels of a method: as the options say, or as the method has it.
OutlierOptions outlier_options(const Options& options, Method method);

// Whether the method takes no channels but those that were found for it.
bool has_own_channels(Method method);

// Throws UsageError if the channels say that they were found in another way than the method has it. `origin` names
// where they come from.
void require_channels_of(Method method, const OutlierChannels& outliers, const std::string& origin);

}  // namespace quaff
