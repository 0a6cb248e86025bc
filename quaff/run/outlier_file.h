// Where calibration writes the outlier channels that it finds.
#pragma once

#include <filesystem>

#include "quaff/files/outliers.h"

namespace quaff {

// outlier/<strategy><threshold>_<dataset>_<model>.json
std::filesystem::path default_outlier_path(const OutlierChannels& outliers);

// Throws UsageError if there is anything but an outlier file at the path: only that may be replaced.
void require_replaceable(const std::filesystem::path& path);

}  // namespace quaff
