// Checks of a command line that open no file: options that contradict each other, and options that have no effect.
#pragma once

#include <set>
#include <string>

#include "quaff/cli/option_table.h"

namespace quaff::cli {

// Throws UsageError if options contradict each other or an option is missing.
void check_contradictions(const CommandLine& line);

// The same for what several ranks cannot do.
void check_for_ranks(const CommandLine& line);

// With --method quaff-paper, the options that it decides become what it makes of them (run/method_settings.h). Throws
// UsageError if one was given another value.
void apply_paper_settings(CommandLine& line);

// Adds to line.unused the options that have no effect beside the others. `on_command_line`: the options given there; a
// file may hold more than a verb uses.
void note_unused(CommandLine& line, const std::set<std::string>& on_command_line);

}  // namespace quaff::cli
