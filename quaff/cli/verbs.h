// The verbs of the command line: each reads its options, does its work and returns the exit status.
#pragma once

#include <string>

#include "llmc/comm/comm.h"
#include "llmc/cpu/device.h"
#include "llmc/system/terminal.h"
#include "quaff/cli/parsing.h"

namespace quaff::cli {

inline constexpr int kDone = 0, kFailed = 1, kWrongUsage = 2, kStopped = 130;

// What an exception comes to: a sentence for the user, and the exit status.
struct Fault {
    std::string message;
    int status;
};
// Of the one that is being handled.
Fault current_fault();

// work(). An exception ends the other ranks at once, while what the caller holds lives: to take down a model or a
// communicator is to wait for them, and they wait for this rank.
template <class Work>
auto or_end_all_ranks(llmc::Comm& comm, const Work& work) {
    if (comm.size() == 1) return work();
    try {
        return work();
    } catch (...) {
        const Fault fault = current_fault();
        comm.fail_all(fault.message, fault.status);
        throw;  // g++ does not see that no override returns
    }
}

// Runs line.verb on a device. Throws llmc::Error and llmc::UsageError with a sentence for the user.
template <class Device>
int run_verb(const CommandLine& line, llmc::Terminal& terminal, const Device& device);

}  // namespace quaff::cli
