// How long somebody has waited, as far as it was awake: a job that is stopped as a whole and goes on after an hour has
// waited for nobody meanwhile.
#pragma once

#include <algorithm>
#include <chrono>

namespace llmc {

class AwakeTime {
  public:
    // Since this was made. To be asked more often than every kLongestNap seconds: of a longer pause no more counts.
    double seconds() {
        const Clock::time_point now = Clock::now();
        total_ += std::min(std::chrono::duration<double>(now - last_).count(), kLongestNap);
        last_ = now;
        return total_;
    }

  private:
    using Clock = std::chrono::steady_clock;
    static constexpr double kLongestNap = 2;

    Clock::time_point last_ = Clock::now();
    double total_ = 0;
};

}  // namespace llmc
