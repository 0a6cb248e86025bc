// What calibration gathers about the input channels of one joint linear, and how it picks the outliers among them.
//
// The calibration batches give every channel c a rank. The channels of highest rank, up to a cap, are the layer's
// outlier channels. A channel of rank zero never is one; ties go to the lower index.
//
//   token_max    sum over tokens of (|X[n,c]| / max_i |X[n,i]|)^2 wherever c is among the token's four largest
//   mean_times   how many |X[n,c]| exceed threshold * mean |X| of the batch
//   static       how many |X[n,c]| exceed threshold
//   zscore       how many |x - mean| / std exceed threshold, mean and std over the batch
//   top_abs      the largest |X[n,c]| of all
//
// The result does not depend on the number of threads. Only mean_times and zscore depend on how the examples are
// batched.
#pragma once

#include <cstdint>
#include <vector>

#include "llmc/comm/comm.h"
#include "llmc/core/named.h"
#include "llmc/core/tensor.h"

namespace quaff {

using namespace llmc;

enum class OutlierStrategy { token_max, mean_times, static_threshold, zscore, top_abs };
inline constexpr Named<OutlierStrategy> kOutlierStrategyNames[] = {{"token_max", OutlierStrategy::token_max},
                                                                   {"mean_times", OutlierStrategy::mean_times},
                                                                   {"static", OutlierStrategy::static_threshold},
                                                                   {"zscore", OutlierStrategy::zscore},
                                                                   {"top_abs", OutlierStrategy::top_abs}};
constexpr const char* name_of(OutlierStrategy strategy) {
    return name_in(kOutlierStrategyNames, strategy);
}

class ChannelStatistics {
  public:
    ChannelStatistics() = default;
    ChannelStatistics(int64_t channels, OutlierStrategy strategy, double threshold)
        : strategy_(strategy), threshold_(threshold), rank_(channels, 0.0), max_abs_(channels, 0.0f) {}

    // Adds one batch, x [N tokens, channels], without padding.
    void observe(Matrix<const float> x, int threads);

    // From now on, keeps the row of every stride-th token that it observes, the first one included.
    void keep_rows(int64_t stride) { stride_ = stride; }
    Matrix<const float> kept_rows() const {
        return {kept_.data(), std::ssize(kept_) / std::ssize(rank_), std::ssize(rank_)};
    }

    // Adds what the other ranks have observed, but not their rows. Every rank calls it.
    void merge(Comm& comm);

    // The channels above rank zero, the highest first.
    std::vector<int32_t> by_rank() const;
    // At most `cap` of them, ascending.
    std::vector<int32_t> outliers(int64_t cap) const;
    float max_abs(int32_t channel) const { return max_abs_[channel]; }

  private:
    void observe_token_max(Matrix<const float> x, int threads);
    // rank += how many |x - centre| exceed the bound.
    void count_above(Matrix<const float> x, float centre, float bound, int threads);

    OutlierStrategy strategy_ = OutlierStrategy::token_max;
    double threshold_ = 0;
    std::vector<double> rank_;
    std::vector<float> max_abs_;
    int64_t stride_ = 0, observed_ = 0;  // tokens; 0: no row is kept
    std::vector<float> kept_;            // rows, one after the other
};

}  // namespace quaff
