// --help of a verb, from the option table.
#pragma once

#include <string>

#include "quaff/cli/verbs.h"

namespace quaff::cli {

// No line has more than 100 columns.
std::string help_text(const VerbInfo& verb);

}  // namespace quaff::cli
