// A polite stop: SIGINT, SIGTERM, SIGHUP and SIGUSR1 ask the run to finish what it is doing, write a checkpoint and
// leave with status 130; a second SIGINT ends the program at once. SIGUSR1 is what mpirun passes on to its ranks; of
// the others it makes a SIGTERM, and a SIGKILL one second later.
#pragma once

#include <csignal>

namespace llmc {

// Catches the signals while it lives and puts back what was there before. One at a time. Under nohup, which has the
// program begin with SIGHUP ignored, that one stays ignored.
class StopSignals {
  public:
    StopSignals();
    ~StopSignals();
    StopSignals(const StopSignals&) = delete;
    StopSignals& operator=(const StopSignals&) = delete;

    bool requested() const;

  private:
    struct sigaction previous_interrupt_ {};
    struct sigaction previous_terminate_ {};
    struct sigaction previous_hang_up_ {};
    struct sigaction previous_user_ {};
};

// A pipe whose reader has gone is a failed write, which the writer may notice, and no reason to end.
void ignore_broken_pipes();

}  // namespace llmc
