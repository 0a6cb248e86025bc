#include "quaff/model/outlier_budget.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "llmc/core/error.h"
#include "llmc/core/hadamard.h"
#include "quaff/model/rounding_noise.h"

namespace quaff {
namespace {

// More channels than this share of a layer's are never bought.
constexpr int64_t kLargestShare = 4;  // a quarter

// Whole groups of four (max_outliers), each about a sixteenth more than the one before.
std::vector<int64_t> counts_to_measure(int64_t in_features) {
    std::vector<int64_t> counts;
    for (int64_t k = 0; k <= in_features / kLargestShare; k += std::max(int64_t{4}, k / 64 * 4)) counts.push_back(k);
    return counts;
}

// "model.layers.3.mlp.down_proj" -> "down_proj"
std::string kind_of(const JointLinear& joint) {
    return joint.name.substr(joint.name.rfind('.') + 1);
}

// A share of which max_outliers makes `count` again: rounded up in its fifth digit, far less than a group of four.
double share_of(int64_t count, int64_t in_features) {
    return std::ceil(static_cast<double>(count) / static_cast<double>(in_features) * 1e5) / 1e5;
}

}  // namespace

std::vector<double> int8_errors(const ChannelStatistics& statistics, std::span<const int64_t> counts, bool rotation,
                                int threads) {
    const Matrix<const float> rows = statistics.kept_rows();
    std::vector<std::vector<int32_t>> channels;
    const std::vector<int32_t> by_rank = statistics.by_rank();
    for (const int64_t count : counts) {
        channels.emplace_back(by_rank.begin(), by_rank.begin() + std::min(count, std::ssize(by_rank)));
        std::ranges::sort(channels.back());
    }
    std::vector<double> errors(static_cast<size_t>(rows.rows) * counts.size());
#pragma omp parallel num_threads(threads)
    {
        std::vector<float> v(static_cast<size_t>(rows.cols));
#pragma omp for schedule(static)
        for (int64_t n = 0; n < rows.rows; n++) {
            const double energy = sum_of_squares(rows.row(n), rows.cols);
            if (energy == 0) continue;
            for (size_t i = 0; i < channels.size(); i++) {
                const RowTransform transform{channels[i], nullptr, rotation ? hadamard_block(rows.cols) : 0};
                cpu::transform_row(v.data(), nullptr, rows.row(n), rows.cols, transform);
                errors[static_cast<size_t>(n) * counts.size() + i] = rounding_noise(v.data(), rows.cols) / energy;
            }
        }
    }
    std::vector<double> sums(counts.size());
    for (size_t i = 0; i < errors.size(); i++) sums[i % counts.size()] += errors[i];
    return sums;
}

std::vector<size_t> spend(std::span<const ChannelMarket> markets, int64_t money) {
    std::vector<size_t> bought(markets.size());
    for (;;) {
        size_t best_market = 0, best_choice = 0;
        double best_gain = 0;  // error per value of memory
        for (size_t m = 0; m < markets.size(); m++) {
            const ChannelMarket& market = markets[m];
            for (size_t i = bought[m] + 1; i < market.counts.size(); i++) {
                const int64_t cost = (market.counts[i] - market.counts[bought[m]]) * market.price;
                if (cost > money) break;
                const double gain = (market.errors[bought[m]] - market.errors[i]) / static_cast<double>(cost);
                if (gain <= best_gain) continue;
                best_market = m;
                best_choice = i;
                best_gain = gain;
            }
        }
        if (best_gain == 0) return bought;
        const ChannelMarket& market = markets[best_market];
        money -= (market.counts[best_choice] - market.counts[bought[best_market]]) * market.price;
        bought[best_market] = best_choice;
    }
}

MaxRatio ratios_within(double budget, std::span<const JointLinear> joints,
                       std::span<const ChannelStatistics> statistics, bool rotation, Comm& comm, int threads) {
    std::vector<std::string> kinds;  // in the order of a layer
    std::vector<ChannelMarket> markets;
    std::vector<int64_t> widths;
    int64_t money = 0;
    for (size_t j = 0; j < joints.size(); j++) {
        const JointLinear& joint = joints[j];
        const size_t k = static_cast<size_t>(std::ranges::find(kinds, kind_of(joint)) - kinds.begin());
        if (k == kinds.size()) {
            kinds.push_back(kind_of(joint));
            widths.push_back(joint.in_features);
            markets.push_back({0, counts_to_measure(joint.in_features), {}});
            markets[k].errors.resize(markets[k].counts.size());
        }
        markets[k].price += joint.out_features();
        money += max_outliers(joint.in_features, budget) * joint.out_features();
        const std::vector<double> errors = int8_errors(statistics[j], markets[k].counts, rotation, threads);
        for (size_t i = 0; i < errors.size(); i++) markets[k].errors[i] += errors[i];
    }
    for (ChannelMarket& market : markets) comm.sum(market.errors);
    const std::vector<size_t> bought = spend(markets, money);
    std::string text;
    for (size_t k = 0; k < kinds.size(); k++)
        text += concat(k == 0 ? "" : ",", kinds[k], "=", share_of(markets[k].counts[bought[k]], widths[k]));
    return MaxRatio(text);
}

}  // namespace quaff
