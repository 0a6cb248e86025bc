// The model folder that a verb works on.
#pragma once

#include <string>

#include "llmc/system/terminal.h"
#include "quaff/files/model_files.h"
#include "quaff/run/options.h"

namespace quaff {

// The folder of --model. Throws UsageError if it is the demo's and is not in the current folder.
const std::string& model_folder(const Options& options);

// Opens it, and warns of the settings in its config.json that this program ignores.
ModelFiles open_model(const Options& options, Terminal& terminal);

// The same for a run that computes with the model. Throws Error if an adapter lies beside the weights and would be
// passed over silently: --adapter names none and no run is resumed.
ModelFiles open_model_to_run(const Options& options, Terminal& terminal);

}  // namespace quaff
