// The verbs of the command line: each reads its options, does its work and returns the exit status.
#pragma once

#include "llmc/cpu/device.h"
#include "llmc/terminal.h"
#include "quaff/options.h"

namespace quaff {

inline constexpr int kDone = 0, kFailed = 1, kWrongUsage = 2, kStopped = 130;

// Runs options.verb on a device. Throws llmc::Error and llmc::UsageError with a sentence for the user.
template <class Device>
int run_verb(const Options& options, llmc::Terminal& terminal, const Device& device);

}  // namespace quaff
