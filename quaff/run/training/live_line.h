// How a training run shows its steps: one live line on a terminal, and lines of a log elsewhere.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace quaff {

struct LiveFigures {
    int64_t step = 0, total_steps = 0;
    double epoch = 0;
    double loss = 0;               // smoothed
    double tokens_per_second = 0;  // of the last step
    int64_t peak_memory = 0;       // bytes
    double seconds_left = 0;       // an estimate
};

// One line of fewer than `columns` columns (0: no limit). A part that does not fit beside the more important ones is
// left out; the bar takes what is left:
//
//   [#####...............]  12/1050  epoch 0.01  loss 0.1234  12,345 tokens/s  peak 2.18 GiB  ETA 3m05s
//   [#....]  12/1050  loss 0.1234  ETA 3m05s
std::string live_line(const LiveFigures& figures, int columns);

// The exponential mean of the losses so far, each with nine tenths of the weight of the next.
class SmoothedLoss {
  public:
    double update(double loss);

  private:
    double sum_ = 0, weight_ = 0;
};

// Which steps get a line of their own.
class LinePace {
  public:
    // `every`: those of every so many; 0: in a log (`is_log`) at most one a second and the last one, and beside a live
    // line none.
    LinePace(int64_t every, bool is_log) : every_(every), is_log_(is_log) {}

    // `now`: seconds since any beginning.
    bool is_due(int64_t step, int64_t total_steps, double now);

  private:
    int64_t every_;
    bool is_log_;
    std::optional<double> last_;
};

}  // namespace quaff
