// Finds a model's outlier channels: runs calibration batches through the full-precision model and ranks the input
// channels of every joint linear (channel_statistics.h).
//
// One layer of full-precision weights is in memory at a time: the hidden states of all batches go through layer 0, then
// through layer 1, and so on. Batches whose hidden states exceed a limit go in several groups. Each group reads the
// weights again.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "llmc/cpu/device.h"
#include "llmc/data/batch.h"
#include "quaff/files/model_files.h"
#include "quaff/files/outliers.h"
#include "quaff/model/channel_statistics.h"

namespace quaff {

struct CalibrationOptions {
    OutlierStrategy strategy = OutlierStrategy::token_max;
    double threshold = 100;
    MaxRatio max_ratio{"0.02"};
    // Above 0, it takes the place of max_ratio (outlier_budget.h); `rotation` is then the method's.
    double budget = 0;
    bool rotation = true;
    std::string dataset;                                 // for the record
    int64_t hidden_state_limit = int64_t{1} << 30;       // bytes of hidden states kept between two layers
    std::function<void(double fraction)> progress = {};  // called as layers are done
};

// The ranks share the batches, and all get the result. Throws Error when there is nothing to calibrate on, when memory
// is short, or when the checkpoint does not fit its config.
template <class Device = cpu::Device>
OutlierChannels calibrate(const Device& device, const ModelFiles& checkpoint, std::span<const Batch> batches,
                          const CalibrationOptions& options);

}  // namespace quaff
