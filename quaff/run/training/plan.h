// The memory that a training run would take, without the run: --plan.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "llmc/system/terminal.h"
#include "quaff/run/options.h"

namespace quaff {

// Reads the model's shapes and the data, prints the table and returns the JSON object of --json. Calibrates nothing:
// where nothing names the outlier channels, as many are planned for as calibration may find. `options` as for a
// Trainer.
template <class Device>
nlohmann::ordered_json plan(const Options& options, Terminal& terminal, const Device& device);

}  // namespace quaff
