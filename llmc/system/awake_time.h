// How long somebody has waited, as far as it was awake: a job that is stopped as a whole and goes on after an hour has
// waited for nobody meanwhile.
#pragma once

#include <algorithm>
#include <chrono>

namespace llmc {

// Clock: std::chrono::steady_clock, or a test's.
template <class Clock>
class BasicAwakeTime {
  public:
    // To be compared with `limit` seconds (0: none), and asked for several times within it: of a pause between two
    // questions no more than a quarter of the limit counts, nor more than two seconds.
    explicit BasicAwakeTime(double limit = 0) : longest_nap_(limit > 0 ? std::min(2.0, limit / 4) : 2.0) {}

    // Since this was made.
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
