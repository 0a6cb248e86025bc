#include "quaff/model/outlier_tracker.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quaff/model/rounding_noise.h"

namespace quaff {
namespace {

// Of one token.
struct RowFigures {
    double inside = 0, outside = 0;  // sums of x^2 over the channels in P, and over the others
    double noise = 0;                // sum of (v - scale q)^2
    bool maximum_outside = false;
};

// v [cols] and outliers [|P|] are scratch.
RowFigures figures_of_row(const float* x, int64_t cols, const RowTransform& transform, float* v, float* outliers) {
    RowFigures row;
    int32_t largest_inside = 0;
    std::copy_n(x, cols, v);
    for (const int32_t c : transform.channels) {
        row.inside += static_cast<double>(x[c]) * static_cast<double>(x[c]);
        largest_inside = std::max(largest_inside, cpu::magnitude_bits(x[c]));
        v[c] = 0;
    }
    row.outside = sum_of_squares(v, cols);
    row.maximum_outside = cpu::largest_magnitude(v, cols) > largest_inside;
    cpu::transform_row(v, outliers, x, cols, transform);
    row.noise = rounding_noise(v, cols);
    return row;
}

size_t count_common(std::span<const int32_t> a, std::span<const int32_t> b) {
    return static_cast<size_t>(
        std::ranges::count_if(a, [&](int32_t channel) { return std::ranges::binary_search(b, channel); }));
}

}  // namespace

void OutlierTracker::begin_step(bool ranks_all) {
    waits_ = true;
    ranks_all_ = ranks_all;
    if (ranks_all) ranks_ = ChannelStatistics(in_features_, strategy_, threshold_);
}

void OutlierTracker::look(Matrix<const float> x, std::span<const float> s, int threads) {
    ChannelStatistics statistics(in_features_, strategy_, threshold_);
    statistics.observe(x, threads);
    figures_ = {};
    figures_.tokens = x.rows;
    figures_.found = statistics.outliers(std::ssize(channels_));

    const RowTransform transform{channels_, s.empty() ? nullptr : s.data(), rotation_};
    std::vector<RowFigures> rows(static_cast<size_t>(x.rows));
#pragma omp parallel num_threads(threads)
    {
        std::vector<float> v(static_cast<size_t>(x.cols)), outliers(channels_.size());
#pragma omp for schedule(static)
        for (int64_t n = 0; n < x.rows; n++)
            rows[static_cast<size_t>(n)] = figures_of_row(x.row(n), x.cols, transform, v.data(), outliers.data());
    }
    RowFigures sums;  // in the order of the rows
    int64_t maxima_outside = 0;
    for (const RowFigures& row : rows) {
        sums.inside += row.inside;
        sums.outside += row.outside;
        sums.noise += row.noise;
        maxima_outside += row.maximum_outside;
    }
    const double energy = sums.inside + sums.outside;
    figures_.energy_outside = energy > 0 ? sums.outside / energy : 0;
    if (x.rows > 0) figures_.row_maxima_outside = static_cast<double>(maxima_outside) / static_cast<double>(x.rows);
    figures_.snr_x_db = 10 * std::log10(energy / sums.noise);
    if (s.empty()) return;
    double sum = 0;
    for (const float scale : s) sum += static_cast<double>(scale);
    figures_.scale_mean = sum / static_cast<double>(s.size());
    figures_.scale_min = std::ranges::min(s);
    figures_.scale_max = std::ranges::max(s);
}

double share_in(std::span<const int32_t> a, std::span<const int32_t> b) {
    if (a.empty()) return std::numeric_limits<double>::quiet_NaN();
    return static_cast<double>(count_common(a, b)) / static_cast<double>(a.size());
}

double overlap(std::span<const int32_t> a, std::span<const int32_t> b) {
    const size_t common = count_common(a, b), all = a.size() + b.size() - common;
    return all == 0 ? 1 : static_cast<double>(common) / static_cast<double>(all);
}

}  // namespace quaff
