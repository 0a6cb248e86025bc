// The command lines of the processes that a comparison consists of: train_quaff eval and train, with the options that
// were chosen for the comparison.
#pragma once

#include <string>
#include <vector>

#include "quaff/cli/parsing.h"
#include "quaff/run/compare/compare.h"

namespace quaff::cli {

// The methods of --methods: names with commas between them, or "all". Throws UsageError for a name that is no method's,
// or that stands there twice.
std::vector<std::string> methods_of(const std::string& names);

// The chosen options that none of the methods heeds.
std::vector<std::string> heeded_by_none(const CommandLine& line);

// The chosen options that a method does not take, for it has settings of its own.
std::vector<std::string> left_out(const CommandLine& line, const std::string& method);

// Without results. Its options are those that a resumed comparison must share.
Comparison comparison_of(const CommandLine& line);

// The arguments of a process, the verb first.
//
//   evaluations   on --eval-data, or else on the share that training holds out of --data
//   calibration   on the rest of --data, as in training, unless --outliers or --cal-data says otherwise
//   trainings     without evaluations of their own where they can do without
std::vector<std::string> arguments_of(const CommandLine& line, const CompareJob& job);

// Throws UsageError where a comparison cannot be made of these options.
void check_comparison(const CommandLine& line);

}  // namespace quaff::cli
