#include "quaff/model/channel_statistics.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numeric>

#include "llmc/core/error.h"
#include "llmc/core/integers.h"
#include "llmc/cpu/quantize.h"

namespace quaff {

namespace {

// Sum over the batch of f(x), row sums in parallel and added in order: the same for any number of threads.
template <class Function>
double sum_over(Matrix<const float> x, int threads, Function f) {
    std::vector<double> row_sums(x.rows);
#pragma omp parallel for num_threads(threads)
    for (int64_t n = 0; n < x.rows; n++) {
        const float* row = x.row(n);
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < x.cols; c++) sum += f(row[c]);
        row_sums[n] = sum;
    }
    return std::accumulate(row_sums.begin(), row_sums.end(), 0.0);
}

// How many columns a thread has of its own, in whole cache lines.
int64_t columns_of_thread(int64_t columns, int threads) {
    return round_up(ceil_div(columns, int64_t{threads}), int64_t{16});
}

struct Entry {
    int32_t channel;  // -1: none
    float value;      // |x|
};
using TopFour = std::array<Entry, 4>;  // by falling value; of equal ones the lower channel first

// The largest elements of a row.
//
// The row is searched in 64 classes, c modulo 64, whose maxima vectors find at once. If four classes have a maximum of
// at least `bound`, all of the four largest elements are in classes that do.
TopFour top_four(const float* row, int64_t cols) {
    constexpr int64_t kClasses = 64;
    std::array<int32_t, kClasses> maxima{};
    const int64_t whole = cols / kClasses * kClasses;
    for (int64_t begin = 0; begin < whole; begin += kClasses) {
#pragma omp simd
        for (int64_t i = 0; i < kClasses; i++) maxima[i] = std::max(maxima[i], cpu::magnitude_bits(row[begin + i]));
    }
    for (int64_t c = whole; c < cols; c++) maxima[c - whole] = std::max(maxima[c - whole], cpu::magnitude_bits(row[c]));
    std::array<int32_t, 4> largest{};
    for (const int32_t maximum : maxima) {
        if (maximum <= largest[3]) continue;
        int k = 3;
        for (; k > 0 && maximum > largest[k - 1]; k--) largest[k] = largest[k - 1];
        largest[k] = maximum;
    }
    const int32_t bound = largest[3];
    TopFour top;
    top.fill({-1, 0.0f});
    for (int64_t i = 0; i < kClasses; i++) {
        if (maxima[i] < bound) continue;
        for (int64_t c = i; c < cols; c += kClasses) {
            const Entry entry{static_cast<int32_t>(c), std::abs(row[c])};
            const auto goes_before = [&](const Entry& other) {
                return entry.value > other.value || (entry.value == other.value && entry.channel < other.channel);
            };
            if (!goes_before(top[3])) continue;
            int k = 3;
            for (; k > 0 && goes_before(top[k - 1]); k--) top[k] = top[k - 1];
            top[k] = entry;
        }
    }
    return top;
}

}  // namespace

void ChannelStatistics::observe(Matrix<const float> x, int threads) {
    require(x.cols == static_cast<int64_t>(rank_.size()), "calibration expected ", rank_.size(), " channels and saw ",
            x.cols);
    const int64_t width = columns_of_thread(x.cols, threads);
#pragma omp parallel for num_threads(threads)
    for (int64_t begin = 0; begin < x.cols; begin += width) {
        const int64_t end = std::min(begin + width, x.cols);
        float* largest = max_abs_.data();
        for (int64_t n = 0; n < x.rows; n++) {
            const float* row = x.row(n);
#pragma omp simd
            for (int64_t c = begin; c < end; c++)
                largest[c] =
                    std::bit_cast<float>(std::max(cpu::magnitude_bits(largest[c]), cpu::magnitude_bits(row[c])));
        }
    }

    for (int64_t n = 0; stride_ > 0 && n < x.rows; n++)
        if (observed_++ % stride_ == 0) kept_.insert(kept_.end(), x.row(n), x.row(n) + x.cols);

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
    std::vector<TopFour> largest(x.rows);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t n = 0; n < x.rows; n++) largest[n] = top_four(x.row(n), x.cols);
    for (const auto& top : largest) {
        for (const Entry& entry : top) {
            if (entry.channel < 0) continue;
            const double share = static_cast<double>(entry.value) / static_cast<double>(top[0].value);
            rank_[entry.channel] += share * share;
        }
    }
}

void ChannelStatistics::count_above(Matrix<const float> x, float centre, float bound, int threads) {
    const int64_t width = columns_of_thread(x.cols, threads);
#pragma omp parallel for num_threads(threads)
    for (int64_t begin = 0; begin < x.cols; begin += width) {
        const int64_t end = std::min(begin + width, x.cols);
        double* count = rank_.data();
        for (int64_t n = 0; n < x.rows; n++) {
            const float* row = x.row(n);
#pragma omp simd
            for (int64_t c = begin; c < end; c++) count[c] += std::abs(row[c] - centre) > bound ? 1.0 : 0.0;
        }
    }
}

void ChannelStatistics::merge(Comm& comm) {
    comm.max(max_abs_);
    if (strategy_ == OutlierStrategy::top_abs)
        std::copy(max_abs_.begin(), max_abs_.end(), rank_.begin());
    else
        comm.sum(rank_);
}

std::vector<int32_t> ChannelStatistics::by_rank() const {
    std::vector<int32_t> order(rank_.size());
    std::iota(order.begin(), order.end(), 0);
    std::erase_if(order, [&](int32_t c) { return rank_[c] <= 0; });
    std::ranges::stable_sort(order, [&](int32_t a, int32_t b) { return rank_[a] > rank_[b]; });
    return order;
}

std::vector<int32_t> ChannelStatistics::outliers(int64_t cap) const {
    std::vector<int32_t> order = by_rank();
    if (static_cast<int64_t>(order.size()) > cap) order.resize(cap);
    std::ranges::sort(order);
    return order;
}

}  // namespace quaff
