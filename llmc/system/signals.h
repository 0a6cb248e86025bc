// A polite stop: SIGINT, SIGTERM, SIGHUP and SIGUSR1 ask the run to finish what it is doing, write a checkpoint and
// exit with status 130; a second SIGINT ends the program at once. Slurm can send SIGUSR1 before a job's time is up
// (sbatch --signal=USR1@300), and mpirun passes it on to its ranks; for the other signals mpirun sends them SIGTERM,
// and SIGKILL one second later.
#pragma once

#include <array>
#include <csignal>

namespace llmc {

// Catches the signals while it lives and then restores the previous handlers. Only one may exist at a time. Under
// nohup, which starts the program with SIGHUP ignored, SIGHUP stays ignored.
//
// The handler has its own stack, in the thread that makes this object; the OpenMP threads that exist by then do not
// take these signals. oneDNN's kernels keep their stack pointer in the middle of the heap, where the frame of a handler
// would overwrite other allocations.
class StopSignals {
  public:
    StopSignals();
    ~StopSignals();
    StopSignals(const StopSignals&) = delete;
    StopSignals& operator=(const StopSignals&) = delete;

    bool requested() const;

  private:
    static constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
    std::array<struct sigaction, kSignals.size()> previous_{};
    stack_t previous_stack_{};
};

// Turns writing to a closed pipe into a failed write, which the writer may notice, instead of a fatal signal.
void ignore_broken_pipes();

}  // namespace llmc
