#include "quaff/model/channel_statistics.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "llmc/core/error.h"
#include "test/catch.h"

using namespace quaff;

namespace {

// Three tokens of six channels; channel 4 is always large, channel 1 once.
const std::vector<float> kBatch = {1, -1, 0, 0.5f, 40,  0,  //
                                   2, 30, 0, 0.5f, -60, 0,  //
                                   0, 1,  0, 0.5f, 50,  3};

ChannelStatistics observed(OutlierStrategy strategy, double threshold, int threads = 1) {
    ChannelStatistics statistics(6, strategy, threshold);
    statistics.observe({kBatch.data(), 3, 6}, threads);
    return statistics;
}

}  // namespace

TEST_CASE("token_max ranks by the squared share of each token's four largest", "[calibrate]") {
    // Shares: c4 3; c1 1/1600 + 1/4 + 1/2500; c5 9/2500; c0 1/1600 + 4/3600; c3 below c0; c2 never.
    const ChannelStatistics statistics = observed(OutlierStrategy::token_max, 0);
    CHECK(statistics.outliers(1) == std::vector<int32_t>{4});
    CHECK(statistics.outliers(2) == std::vector<int32_t>{1, 4});
    CHECK(statistics.outliers(3) == std::vector<int32_t>{1, 4, 5});
    CHECK(statistics.outliers(4) == std::vector<int32_t>{0, 1, 4, 5});
    CHECK(statistics.outliers(100) == std::vector<int32_t>{0, 1, 3, 4, 5});  // never one of rank zero
}

TEST_CASE("counting strategies count what exceeds their bound", "[calibrate]") {
    CHECK(observed(OutlierStrategy::static_threshold, 25).outliers(6) == std::vector<int32_t>{1, 4});
    CHECK(observed(OutlierStrategy::static_threshold, 25).outliers(1) == std::vector<int32_t>{4});
    // mean |x| = 190.5 / 18 = 10.58: 4 times that is passed by channel 4 in the second and third token.
    CHECK(observed(OutlierStrategy::mean_times, 4).outliers(6) == std::vector<int32_t>{4});
    CHECK(observed(OutlierStrategy::mean_times, 6).outliers(6).empty());
    // mean 3.81, std 23.2 (population): -60 is 2.8 of them away, 50 is 2.0, 40 is 1.6.
    CHECK(observed(OutlierStrategy::zscore, 2.5).outliers(6) == std::vector<int32_t>{4});
    CHECK(observed(OutlierStrategy::zscore, 3).outliers(6).empty());
}

TEST_CASE("top_abs ranks by the largest value of all batches, ties go to the lower channel", "[calibrate]") {
    ChannelStatistics statistics = observed(OutlierStrategy::top_abs, 0);
    const std::vector<float> more = {0, 0, 60, 0, 0, 0};
    statistics.observe({more.data(), 1, 6}, 1);
    CHECK(statistics.outliers(1) == std::vector<int32_t>{2});
    CHECK(statistics.outliers(2) == std::vector<int32_t>{2, 4});
    CHECK(statistics.max_abs(4) == 60.0f);
    CHECK(statistics.max_abs(2) == 60.0f);
}

TEST_CASE("the choice does not depend on the number of threads", "[calibrate]") {
    for (OutlierStrategy strategy : {OutlierStrategy::token_max, OutlierStrategy::mean_times, OutlierStrategy::zscore})
        CHECK(observed(strategy, 2, 1).outliers(4) == observed(strategy, 2, 2).outliers(4));
}

TEST_CASE("token_max on rows of any length is the sum of its definition", "[calibrate]") {
    std::mt19937 random(3);
    for (const int64_t columns : {3, 63, 64, 65, 200}) {
        constexpr int64_t kRows = 40;
        std::vector<float> x;
        for (int64_t i = 0; i < kRows * columns; i++)  // with many ties
            x.push_back(static_cast<float>(static_cast<int>(random() % 201) - 100));
        std::vector<double> rank(static_cast<size_t>(columns));
        for (int64_t n = 0; n < kRows; n++) {
            std::vector<std::pair<float, int64_t>> row;  // by falling |x|, then by rising channel
            for (int64_t c = 0; c < columns; c++) row.emplace_back(-std::abs(x[n * columns + c]), c);
            std::sort(row.begin(), row.end());
            for (size_t k = 0; k < std::min<size_t>(4, row.size()); k++) {
                const double share = static_cast<double>(row[k].first) / static_cast<double>(row[0].first);
                rank[static_cast<size_t>(row[k].second)] += share * share;
            }
        }
        ChannelStatistics statistics(columns, OutlierStrategy::token_max, 0);
        statistics.observe({x.data(), kRows, columns}, 2);
        for (int64_t cap = 1; cap <= columns; cap++) {
            std::vector<int32_t> order;
            for (int32_t c = 0; c < columns; c++)
                if (rank[c] > 0) order.push_back(c);
            std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return rank[a] > rank[b]; });
            order.resize(std::min<size_t>(order.size(), static_cast<size_t>(cap)));
            std::sort(order.begin(), order.end());
            CHECK(statistics.outliers(cap) == order);
        }
    }
}

TEST_CASE("every strategy has a name, and no other word is one", "[calibrate]") {
    CHECK(value_in(kOutlierStrategyNames, "static") == OutlierStrategy::static_threshold);
    CHECK(std::string(name_of(OutlierStrategy::token_max)) == "token_max");
    CHECK_FALSE(value_in(kOutlierStrategyNames, "kurtosis"));
}
