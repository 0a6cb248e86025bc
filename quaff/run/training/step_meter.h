// Measures steps: time, tokens, share of the speed of light, traffic between ranks. A step knows nothing of it.
#pragma once

#include <chrono>
#include <cstdint>

#include "llmc/comm/comm.h"
#include "llmc/core/peak.h"
#include "quaff/run/speed_of_light.h"
#include "quaff/run/training/report.h"
#include "quaff/run/training/step.h"

namespace quaff {

// Of all ranks together. A collective call.
Peak sum_over_ranks(const Peak& own, Comm& comm);

class StepMeter {
  public:
    // `peak`: of all ranks together.
    StepMeter(const WorkModel& work, const Peak& peak, Comm& comm) : work_(work), peak_(peak), comm_(comm) {}

    void begin();
    // The operations of this rank's share.
    Work work_of(const StepShare& share) const;
    // Of the step since begin(), with the `work` of all ranks. Leaves epoch, learning rate, memory and skipped steps to
    // the caller.
    StepFigures end(const StepShare& share, const Work& work, const StepResult& result);

    double longest() const { return longest_; }  // seconds of a step
    double tokens_per_second() const { return seconds_ > 0 ? static_cast<double>(tokens_) / seconds_ : 0; }
    // An estimate, after at least one step.
    double seconds_for(int64_t steps) const {
        return seconds_ / static_cast<double>(steps_) * static_cast<double>(steps);
    }

  private:
    WorkModel work_;
    Peak peak_;
    Comm& comm_;
    std::chrono::steady_clock::time_point begin_;
    Traffic traffic_;  // before the step
    // Of all steps that this process took.
    int64_t steps_ = 0, tokens_ = 0;
    double seconds_ = 0, longest_ = 0;
};

}  // namespace quaff
