// --outlier-budget: the memory of the outlier channels is given, and measurement says which kinds of linears get it.
//
// A channel costs its row of W^T, out_features values, in every layer. The budget B allows what the same share of every
// layer's input channels would cost, --outlier-max-ratio B. What k channels of a linear are worth shows on the rows
// that calibration kept of its input (ChannelStatistics::keep_rows):
//
//   e(k) = mean over the rows of  sum (v - scale q)^2 / sum x^2
//
// with v the row x without the k channels of highest rank, rotated where the method rotates, and scale, q its int8. The
// error of a kind, "down_proj", is the sum of e(k) over the layers. Step by step the memory goes to the kind whose
// error falls most for what the step costs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quaff/files/model_config.h"
#include "quaff/files/outliers.h"
#include "quaff/model/channel_statistics.h"

namespace quaff {

// The kept rows' e(k), summed over them and not yet divided, for every k of `counts`. With rotation, in blocks.
std::vector<double> int8_errors(const ChannelStatistics& statistics, std::span<const int64_t> counts, bool rotation,
                                int threads);

// A kind of joint linear: all layers have one of it.
struct ChannelMarket {
    int64_t price;                // of a channel: values of memory
    std::vector<int64_t> counts;  // of channels, ascending from 0: what can be bought
    std::vector<double> errors;   // with each of them
};
// What each market sells when at most `money` is spent, as indices of its counts.
std::vector<size_t> spend(std::span<const ChannelMarket> markets, int64_t money);

// The shares of channels by kind. joints and statistics: of all layers, with rows kept, in the same order. Every rank
// calls it with its own rows.
MaxRatio ratios_within(double budget, std::span<const JointLinear> joints,
                       std::span<const ChannelStatistics> statistics, bool rotation, Comm& comm, int threads);

}  // namespace quaff
