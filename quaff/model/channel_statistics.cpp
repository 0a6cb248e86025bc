#include "quaff/model/channel_statistics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "llmc/core/error.h"

namespace quaff {

namespace {

// Sum over the batch of f(x), row sums in parallel and added in order: the same for any number of threads.
template <class Function>
double sum_over(Matrix<const float> x, int threads, Function f) {
    std::vector<double> row_sums(x.rows);
#pragma omp parallel for num_threads(threads)
    for (int64_t n = 0; n < x.rows; n++) {
        double sum = 0;
        for (int64_t c = 0; c < x.cols; c++) sum += f(x(n, c));
        row_sums[n] = sum;
    }
    return std::accumulate(row_sums.begin(), row_sums.end(), 0.0);
}

}  // namespace

void ChannelStatistics::observe(Matrix<const float> x, int threads) {
    require(x.cols == static_cast<int64_t>(rank_.size()), "calibration expected ", rank_.size(), " channels and saw ",
            x.cols);
#pragma omp parallel for num_threads(threads)
    for (int64_t block = 0; block < x.cols; block += 64) {
        const int64_t end = std::min(block + 64, x.cols);
        for (int64_t n = 0; n < x.rows; n++)
            for (int64_t c = block; c < end; c++) max_abs_[c] = std::max(max_abs_[c], std::abs(x(n, c)));
    }

    const double size = static_cast<double>(x.size());
    switch (strategy_) {
        case OutlierStrategy::token_max:
            observe_token_max(x, threads);
            break;
        case OutlierStrategy::top_abs:
            std::copy(max_abs_.begin(), max_abs_.end(), rank_.begin());
            break;
        case OutlierStrategy::static_threshold:
            count_above(x, 0, static_cast<float>(threshold_), threads);
            break;
        case OutlierStrategy::mean_times: {
            const double mean = sum_over(x, threads, [](float v) { return std::abs(v); }) / size;
            count_above(x, 0, static_cast<float>(threshold_ * mean), threads);
            break;
        }
        case OutlierStrategy::zscore: {
            const double mean = sum_over(x, threads, [](float v) { return v; }) / size;
            const double variance = sum_over(x, threads, [mean](float v) { return (v - mean) * (v - mean); }) / size;
            count_above(x, static_cast<float>(mean), static_cast<float>(threshold_ * std::sqrt(variance)), threads);
            break;
        }
    }
}

void ChannelStatistics::observe_token_max(Matrix<const float> x, int threads) {
    constexpr int kLargest = 4;
    struct Entry {
        int32_t channel;
        float value;
    };
    std::vector<std::array<Entry, kLargest>> largest(x.rows);
#pragma omp parallel for num_threads(threads)
    for (int64_t n = 0; n < x.rows; n++) {
        std::array<Entry, kLargest> top;
        top.fill({-1, 0.0f});
        for (int64_t c = 0; c < x.cols; c++) {
            const float value = std::abs(x(n, c));
            if (value <= top[kLargest - 1].value) continue;  // equal values: the lower channel was there first
            int k = kLargest - 1;
            for (; k > 0 && value > top[k - 1].value; k--) top[k] = top[k - 1];
            top[k] = {static_cast<int32_t>(c), value};
        }
        largest[n] = top;
    }
    for (const auto& top : largest) {
        for (const Entry& entry : top) {
            if (entry.channel < 0) continue;
            const double share = static_cast<double>(entry.value) / static_cast<double>(top[0].value);
            rank_[entry.channel] += share * share;
        }
    }
}

void ChannelStatistics::count_above(Matrix<const float> x, float centre, float bound, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t block = 0; block < x.cols; block += 64) {
        const int64_t end = std::min(block + 64, x.cols);
        for (int64_t n = 0; n < x.rows; n++)
            for (int64_t c = block; c < end; c++) rank_[c] += std::abs(x(n, c) - centre) > bound ? 1.0 : 0.0;
    }
}

void ChannelStatistics::merge(Comm& comm) {
    comm.max(max_abs_);
    if (strategy_ == OutlierStrategy::top_abs)
        std::copy(max_abs_.begin(), max_abs_.end(), rank_.begin());
    else
        comm.sum(rank_);
}

std::vector<int32_t> ChannelStatistics::outliers(int64_t cap) const {
    std::vector<int32_t> order(rank_.size());
    std::iota(order.begin(), order.end(), 0);
    std::erase_if(order, [&](int32_t c) { return rank_[c] <= 0; });
    std::ranges::stable_sort(order, [&](int32_t a, int32_t b) { return rank_[a] > rank_[b]; });
    if (static_cast<int64_t>(order.size()) > cap) order.resize(cap);
    std::ranges::sort(order);
    return order;
}

}  // namespace quaff
