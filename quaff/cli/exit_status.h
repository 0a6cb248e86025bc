// How the program ends: its exit status, and the sentence for the user when something went wrong.
#pragma once

#include <string>

#include "llmc/comm/comm.h"

namespace quaff::cli {

inline constexpr int kDone = 0, kFailed = 1, kWrongUsage = 2, kStopped = 130;

struct Fault {
    std::string message;
    int status;
};
// The fault that the exception being handled stands for.
Fault current_fault();

// Returns action(). An exception ends the other ranks before any destructor of the caller's runs: a model's or a
// communicator's would wait for the others, and they for this rank.
template <class Action>
auto or_end_all_ranks(llmc::Comm& comm, const Action& action) {
    if (comm.size() == 1) return action();
    try {
        return action();
    } catch (...) {
        const Fault fault = current_fault();
        comm.fail_all(fault.message, fault.status);
        throw;  // g++ does not see that no override returns
    }
}

}  // namespace quaff::cli
