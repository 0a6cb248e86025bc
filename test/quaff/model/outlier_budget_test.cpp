#include "quaff/model/outlier_budget.h"

#include <cmath>
#include <random>
#include <vector>

#include "llmc/comm/comm.h"
#include "llmc/core/error.h"
#include "test/catch.h"

using namespace quaff;

namespace {

// Normal values. Channel c of the `outliers` is `size` times as large.
std::vector<float> rows_with(std::vector<int64_t> outliers, float size, int64_t rows, int64_t cols) {
    std::mt19937_64 random(7);
    std::normal_distribution<float> normal;
    std::vector<float> x(static_cast<size_t>(rows * cols));
    for (float& value : x) value = normal(random);
    for (int64_t n = 0; n < rows; n++)
        for (const int64_t c : outliers) x[static_cast<size_t>(n * cols + c)] *= size;
    return x;
}

ChannelStatistics observed(const std::vector<float>& x, int64_t cols, int64_t stride = 1, int threads = 1) {
    ChannelStatistics statistics(cols, OutlierStrategy::token_max, 0);
    statistics.keep_rows(stride);
    statistics.observe({x.data(), std::ssize(x) / cols, cols}, threads);
    return statistics;
}

const std::vector<int64_t> kCounts = {0, 4, 8};

}  // namespace

TEST_CASE("every stride-th row is kept, over the ends of batches", "[calibrate][budget]") {
    ChannelStatistics statistics(2, OutlierStrategy::token_max, 0);
    statistics.keep_rows(2);
    const std::vector<float> first = {1, 2, 3, 4, 5, 6}, second = {7, 8, 9, 10};
    statistics.observe({first.data(), 3, 2}, 1);
    statistics.observe({second.data(), 2, 2}, 1);
    const Matrix<const float> kept = statistics.kept_rows();
    CHECK(std::vector<float>(kept.data, kept.data + kept.size()) == std::vector<float>{1, 2, 5, 6, 9, 10});
}

TEST_CASE("int8's error is that of the rows without their outlier channels", "[calibrate][budget]") {
    const int64_t cols = 64;
    const std::vector<float> x = rows_with({3, 40, 41, 60}, 100, 8, cols);
    std::vector<double> expected = {0, 0};  // with the outliers' columns, and without
    for (size_t n = 0; n < 8; n++) {
        std::vector<double> row(x.begin() + n * cols, x.begin() + (n + 1) * cols);
        double energy = 0;
        for (const double value : row) energy += value * value;
        for (double& sum : expected) {
            double largest = 0;
            for (const double value : row) largest = std::max(largest, std::abs(value));
            for (const double value : row) {
                const double rounded = std::round(value * 127 / largest) * largest / 127;
                sum += (value - rounded) * (value - rounded) / energy;
            }
            for (const size_t outlier : {3, 40, 41, 60}) row[outlier] = 0;
        }
    }
    const std::vector<double> errors = int8_errors(observed(x, cols), kCounts, /*rotation=*/false, 1);
    CHECK(errors[0] == Approx(expected[0]).epsilon(1e-4));
    CHECK(errors[1] == Approx(expected[1]).epsilon(1e-4));
    CHECK(errors[1] < errors[0] / 100);
    CHECK(errors[2] < errors[1]);
    // Turned, an outlier is spread over its block, and the step is smaller.
    CHECK(int8_errors(observed(x, cols), kCounts, /*rotation=*/true, 1)[0] < errors[0]);
    CHECK(int8_errors(observed(x, cols, 1, 3), kCounts, /*rotation=*/false, 3) == errors);
}

TEST_CASE("memory goes where the error falls most for it, and no further than it lasts", "[calibrate][budget]") {
    const ChannelMarket cheap{1, {0, 4, 8}, {10, 6, 5}}, dear{10, {0, 4, 8}, {100, 20, 19}};
    const std::vector<ChannelMarket> markets = {cheap, dear};
    CHECK(spend(markets, 3) == std::vector<size_t>{0, 0});
    CHECK(spend(markets, 4) == std::vector<size_t>{1, 0});
    CHECK(spend(markets, 44) == std::vector<size_t>{1, 1});  // 2 and 1 error per value
    CHECK(spend(markets, 48) == std::vector<size_t>{2, 1});
    CHECK(spend(markets, 1000) == std::vector<size_t>{2, 2});
}

TEST_CASE("a step that lowers nothing does not hide one that does", "[calibrate][budget]") {
    const std::vector<ChannelMarket> markets = {{1, {0, 4, 8, 12}, {10, 10, 10, 1}}};
    CHECK(spend(markets, 11) == std::vector<size_t>{0});
    CHECK(spend(markets, 12) == std::vector<size_t>{3});
}

TEST_CASE("a budget buys the channels of the layers that have outliers", "[calibrate][budget]") {
    const std::vector<int64_t> outliers = {0, 5, 17, 23, 40, 41, 64, 90, 100, 101, 126, 127};
    std::vector<JointLinear> joints;
    std::vector<ChannelStatistics> statistics;
    for (const char* layer : {"model.layers.0.", "model.layers.1."}) {
        joints.push_back({concat(layer, "self_attn.qkv_proj"), 64, false, {{"q_proj", 96}}});
        statistics.push_back(observed(rows_with({}, 1, 16, 64), 64));
        joints.push_back({concat(layer, "mlp.down_proj"), 128, false, {{"down_proj", 64}}});
        statistics.push_back(observed(rows_with(outliers, 200, 16, 128), 128));
    }
    // In each layer 7% is 4 channels of 96 values and 8 of 64: the 12 outliers' 768 values, and 128 too few for more.
    const MaxRatio ratio = ratios_within(0.07, joints, statistics, /*rotation=*/false, single_process(), 1);
    CHECK(max_outliers(64, ratio.of("qkv_proj")) == 0);
    CHECK(max_outliers(128, ratio.of("down_proj")) == 12);
}
