// How far a value lies from the values before it: its z-score over a trailing window.
//
//   z = (x - mean(window)) / std(window)
//
// Nothing is called a spike until the window is full. A run whose loss or gradient norm jumps by many standard
// deviations is about to diverge, or has met a bad example; the log says at which step.
#pragma once

#include <cmath>
#include <cstddef>
#include <deque>

namespace llmc {

class SpikeDetector {
  public:
    explicit SpikeDetector(size_t window = 64) : window_(window) {}

    // The z-score of x against the window; then x replaces the oldest value. 0 until the window is full, and if all its
    // values are equal (no scale to measure by).
    double update(double x) {
        double z = 0;
        if (values_.size() == window_) {
            double mean = 0, variance = 0;  // summed afresh: a running sum would drift over a long run
            for (const double value : values_) mean += value / static_cast<double>(window_);
            for (const double value : values_)
                variance += (value - mean) * (value - mean) / static_cast<double>(window_);
            if (variance > 0) z = (x - mean) / std::sqrt(variance);
            values_.pop_front();
        }
        values_.push_back(x);
        return z;
    }

  private:
    size_t window_;
    std::deque<double> values_;
};

}  // namespace llmc
