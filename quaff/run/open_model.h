// The model folder that a verb works on.
#pragma once

#include <string>

#include "llmc/system/terminal.h"
#include "quaff/files/model_files.h"
#include "quaff/run/options.h"

namespace quaff {

// The folder of --model. Throws UsageError when it is the demo's and the program runs somewhere else.
const std::string& model_folder(const Options& options);

// Opens it, and warns of what its config.json says and this program does not follow.
ModelFiles open_model(const Options& options, Terminal& terminal);

// The same for a run that computes with the model: no adapter beside its weights is silently passed over. Throws Error
// where there is one, --adapter names none and no run is resumed.
ModelFiles open_model_to_run(const Options& options, Terminal& terminal);

}  // namespace quaff
