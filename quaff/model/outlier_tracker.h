// Which channels of a training batch are its own outliers, beside the set that was chosen before training: what the
// method's hypothesis of spatial stability is about. It says that the two are the same throughout a training.
//
// For the input x [N,I] of one joint linear, with P the channels chosen before, and v and q its rows as they are
// quantised (llmc/cpu/quantize.h):
//
//   found                F: the |P| channels that calibration's criterion ranks first in x alone (channel_statistics.h)
//   energy_outside       sum of x[n,c]^2 over c not in P / sum of x[n,c]^2 over all c
//   row_maxima_outside   share of the tokens whose largest |x[n,c]| lies outside P
//   snr_x_db             10 log10( sum x^2 / sum (v - scale q)^2 )
//
// v - scale q is what quantising does to the layer's input: the rotation keeps its length, and what s takes from an
// outlier channel the outlier term gives back. The sums do not depend on the number of threads.
//
// Quaff, Huang and Wu 2025, arXiv 2505.14742, its hypothesis OSSH.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "llmc/core/tensor.h"
#include "llmc/cpu/transfer.h"
#include "quaff/model/channel_statistics.h"

namespace quaff {

using namespace llmc;

// Of one linear in one step.
struct OutlierFigures {
    int64_t tokens = 0;          // that were looked at
    std::vector<int32_t> found;  // F, ascending
    double energy_outside = 0, row_maxima_outside = 0;
    double snr_x_db = 0;                                  // infinite where nothing was rounded
    double scale_mean = 0, scale_min = 0, scale_max = 0;  // of s; all 0 where there is none
};

class OutlierTracker {
  public:
    // A GPU's inputs are copied to the host, and waited for. The figures are of no more than this many tokens of them.
    static constexpr int64_t kMostCopied = 512;

    // `channels`: P, ascending, of an input with `in_features` channels. rotation: as in RowTransform.
    OutlierTracker(int64_t in_features, std::vector<int32_t> channels, OutlierStrategy strategy, double threshold,
                   int64_t rotation)
        : in_features_(in_features),
          channels_(std::move(channels)),
          strategy_(strategy),
          threshold_(threshold),
          rotation_(rotation) {}

    // The next input counts, and none after it: of the micro-batches of a step, the first. With `ranks_all`, the
    // channels of all inputs from now on are ranked together.
    void begin_step(bool ranks_all = false);
    // Of the last input that counted.
    const OutlierFigures& figures() const { return figures_; }
    const std::vector<int32_t>& channels() const { return channels_; }
    void set_channels(std::vector<int32_t> channels) { channels_ = std::move(channels); }
    // Of the inputs since begin_step(true); those that follow are not ranked.
    ChannelStatistics take_ranks() {
        ranks_all_ = false;
        return std::move(ranks_);
    }

    // x [N,I] and s [|P|], empty where there is none, are in the device's memory, as the forward pass quantises with
    // them.
    template <class Device, class T>
    void observe(const Device& device, Matrix<const T> x, std::span<float> s) {
        if (!waits_ && !ranks_all_) return;
        constexpr bool kCopies = !std::is_base_of_v<cpu::Device, Device>;
        const int64_t most = kCopies && !ranks_all_ ? kMostCopied : x.rows;
        std::vector<float> copied_x, copied_s;
        const Matrix<const float> host_x = host_view(device, x.first_rows(std::min(x.rows, most)), copied_x);
        const int threads = host_of(device).threads;
        if (ranks_all_) ranks_.observe(host_x, threads);
        if (!waits_) return;
        waits_ = false;
        const Matrix<const float> row(s.data(), 1, static_cast<int64_t>(s.size()));
        const Matrix<const float> host_s = host_view(device, row, copied_s);
        look(kCopies ? host_x.first_rows(std::min(host_x.rows, kMostCopied)) : host_x, {host_s.data, s.size()},
             threads);
    }

    // The same in host memory, whatever begin_step() said.
    void look(Matrix<const float> x, std::span<const float> s, int threads);

  private:
    int64_t in_features_;
    std::vector<int32_t> channels_;
    OutlierStrategy strategy_;
    double threshold_;
    int64_t rotation_;
    bool waits_ = false, ranks_all_ = false;
    ChannelStatistics ranks_;
    OutlierFigures figures_;
};

// |a and b| / |a|, both ascending: which part of `a` is in `b`. Not a number where `a` is empty.
double share_in(std::span<const int32_t> a, std::span<const int32_t> b);
// |a and b| / |a or b|, Jaccard's index; 1 where both are empty.
double overlap(std::span<const int32_t> a, std::span<const int32_t> b);

}  // namespace quaff
