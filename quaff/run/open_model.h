// The model folder that a verb works on.
#pragma once

#include <string>

#include "llmc/system/terminal.h"
#include "quaff/files/model_files.h"
#include "quaff/run/options.h"

namespace quaff {

// The folder of --model. Throws UsageError when it is the demo's and the program runs somewhere else.
const std::string& model_folder(const Options& options);

// Opens it. What its config.json says and this program reads otherwise is told as warnings.
ModelFiles open_model(const Options& options, Terminal& terminal);

}  // namespace quaff
