// --help and --help-all of a verb, from the option table.
#pragma once

#include <string>

#include "quaff/cli/verbs.h"

namespace quaff::cli {

// The common options, in 24 lines of 80 columns.
std::string help_text(const VerbInfo& verb);

// All options. No line has more than 100 columns.
std::string whole_help_text(const VerbInfo& verb);

}  // namespace quaff::cli
