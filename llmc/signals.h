// A polite stop: SIGINT and SIGTERM ask the run to finish what it is doing, write a checkpoint and leave with status
// 130; a second SIGINT ends the program at once.
#pragma once

#include <csignal>

namespace llmc {

// Catches the two signals while it lives and puts back what was there before. One at a time.
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
};

}  // namespace llmc
