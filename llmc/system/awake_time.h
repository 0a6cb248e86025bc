// How long a process has waited, without the time it was suspended: a job that is stopped as a whole and resumed after
// an hour has not waited in between.
#pragma once

#include <algorithm>
#include <chrono>

namespace llmc {

// Clock: std::chrono::steady_clock, or a test's.
template <class Clock>
class BasicAwakeTime {
  public:
    // `limit`: what seconds() will be compared with; 0: no limit. Ask several times within it: of a pause between two
    // calls at most a quarter of the limit counts, and at most two seconds.
    explicit BasicAwakeTime(double limit = 0) : longest_nap_(limit > 0 ? std::min(2.0, limit / 4) : 2.0) {}

    // Since construction.
    double seconds() {
        const auto now = Clock::now();
        total_ += std::min(std::chrono::duration<double>(now - last_).count(), longest_nap_);
        last_ = now;
        return total_;
    }

  private:
    double longest_nap_;
    typename Clock::time_point last_ = Clock::now();
    double total_ = 0;
};

using AwakeTime = BasicAwakeTime<std::chrono::steady_clock>;

}  // namespace llmc
