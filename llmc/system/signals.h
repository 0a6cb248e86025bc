// A polite stop: SIGINT, SIGTERM, SIGHUP and SIGUSR1 ask the run to finish what it is doing, write a checkpoint and
// leave with status 130; a second SIGINT ends the program at once. SIGUSR1 is what Slurm is asked to send before a
// job's time is up (sbatch --signal=USR1@300), and what mpirun passes on to its ranks; of the others mpirun makes a
// SIGTERM, and a SIGKILL one second later.
#pragma once

#include <array>
#include <csignal>

namespace llmc {

// Catches the signals while it lives and puts back what was there before. One at a time. Under nohup, which has the
// program begin with SIGHUP ignored, that one stays ignored.
//
// The handler has a stack of its own in the thread that makes this object, and the team of OpenMP's threads that there
// is then does not take these signals. oneDNN's kernels keep their stack pointer in the middle of the heap, and what
// the kernel of the system puts below it for a handler would go over other allocations.
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

// A pipe whose reader has gone is a failed write, which the writer may notice, and no reason to end.
void ignore_broken_pipes();

}  // namespace llmc
