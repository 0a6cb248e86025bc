// What is measured of a batch's own outlier channels, on numbers small enough to check by hand.
#include "quaff/model/outlier_tracker.h"

#include <cmath>
#include <random>
#include <vector>

#include "llmc/core/hadamard.h"
#include "test/catch.h"

using namespace quaff;

namespace {

using Channels = std::vector<int32_t>;

// Three tokens of four channels. By squared share of the token's largest: c1 2, c3 1 + 9/400 .., c0 and c2 little.
const std::vector<float> kBatch = {1, -10, 2, 0,  //
                                   0, 20,  0, 3,  //
                                   2, 0,   0, -6};

OutlierTracker seen(const Channels& channels, const std::vector<float>& x, int64_t columns,
                    const std::vector<float>& s = {}, int64_t rotation = 0, int threads = 1) {
    OutlierTracker tracker(columns, channels, OutlierStrategy::token_max, 0, rotation);
    tracker.look({x.data(), std::ssize(x) / columns, columns}, s, threads);
    return tracker;
}

std::vector<float> random_batch(int64_t size) {
    std::mt19937 random(5);
    std::vector<float> x;
    for (int64_t i = 0; i < size; i++) x.push_back(static_cast<float>(random() % 2001) / 1000.0f - 1.0f);
    return x;
}

}  // namespace

TEST_CASE("hit rate and overlap of two sets", "[ossh]") {
    CHECK(share_in(Channels{1, 3, 5, 8}, Channels{0, 3, 8, 9}) == 0.5);
    CHECK(share_in(Channels{1}, Channels{1, 2, 3}) == 1);
    CHECK(share_in(Channels{1}, Channels{}) == 0);
    CHECK(std::isnan(share_in(Channels{}, Channels{1})));
    CHECK(overlap(Channels{1, 3, 5, 8}, Channels{0, 3, 8, 9}) == Approx(2.0 / 6));
    CHECK(overlap(Channels{1, 2}, Channels{1, 2}) == 1);
    CHECK(overlap(Channels{1}, Channels{2}) == 0);
    CHECK(overlap(Channels{}, Channels{}) == 1);
    CHECK(overlap(Channels{}, Channels{2}) == 0);
}

TEST_CASE("as many channels are found as were chosen, by the criterion of calibration", "[ossh]") {
    CHECK(seen({0}, kBatch, 4).figures().found == Channels{1});
    CHECK(seen({0, 2}, kBatch, 4).figures().found == Channels{1, 3});
    CHECK(seen({}, kBatch, 4).figures().found.empty());
    CHECK(seen({0, 2}, kBatch, 4).figures().tokens == 3);
    // mean |x| = 44 / 12: only -10 and 20 are more than twice that, although two channels were chosen.
    OutlierTracker tracker(4, {0, 3}, OutlierStrategy::mean_times, 2, /*rotation=*/0);
    tracker.look({kBatch.data(), 3, 4}, {}, 1);
    CHECK(tracker.figures().found == Channels{1});
}

TEST_CASE("energy and row maxima outside the chosen channels", "[ossh]") {
    // Sums of squares: 105, 409, 40; in channel 1: 100, 400, 0; in channel 3: 0, 9, 36.
    const OutlierFigures one = seen({1}, kBatch, 4).figures(), other = seen({3}, kBatch, 4).figures(),
                         both = seen({1, 3}, kBatch, 4).figures(), none = seen({}, kBatch, 4).figures();
    CHECK(one.energy_outside == Approx(54.0 / 554));
    CHECK(other.energy_outside == Approx(509.0 / 554));
    CHECK(both.energy_outside == Approx(9.0 / 554));
    CHECK(none.energy_outside == 1);
    CHECK(one.row_maxima_outside == Approx(1.0 / 3));
    CHECK(other.row_maxima_outside == Approx(2.0 / 3));
    CHECK(both.row_maxima_outside == 0);
    CHECK(none.row_maxima_outside == 1);
    // A channel outside that is as large as the largest inside is no reason for another scale; nor is a row of zeros.
    CHECK(seen({0}, {4, 4, 0, 0}, 4).figures().row_maxima_outside == 0);
    CHECK(seen({0}, {4, -4.5f, 0, 0}, 4).figures().row_maxima_outside == 1);
    const OutlierFigures zeros = seen({0}, {0, 0, 0, 0}, 4).figures();
    CHECK(zeros.row_maxima_outside == 0);
    CHECK(zeros.energy_outside == 0);
}

TEST_CASE("the noise is what rounding a row to int8 leaves", "[ossh]") {
    // The largest is 127, so a step is 1: 0.5 becomes 0 and 1.5 becomes 2, half to even, 3.25 becomes 3.
    const std::vector<float> x = {127, 0.5f, 1.5f, 3.25f};
    const double energy = 127 * 127 + 0.25 + 2.25 + 3.25 * 3.25;
    CHECK(seen({0}, x, 4, {1}).figures().snr_x_db == Approx(10 * std::log10(energy / (0.25 + 0.25 + 0.0625))));
    // x / s = 254 / 2: the same rounding, of an input with more energy.
    const std::vector<float> larger = {254, 0.5f, 1.5f, 3.25f};
    const double more = energy - 127 * 127 + 254 * 254;
    CHECK(seen({0}, larger, 4, {2}).figures().snr_x_db == Approx(10 * std::log10(more / (0.25 + 0.25 + 0.0625))));
    // Split off: the largest of the rest is 127, and the outlier channel is exact.
    const std::vector<float> split = {5000, 0.5f, -127, 3.25f};
    const double all = 5000.0 * 5000 + 0.25 + 127 * 127 + 3.25 * 3.25;
    CHECK(seen({0}, split, 4).figures().snr_x_db == Approx(10 * std::log10(all / (0.25 + 0.0625))));
    // Whole numbers are not rounded at all.
    CHECK(std::isinf(seen({0}, {127, 1, 2, -3}, 4, {1}).figures().snr_x_db));
}

TEST_CASE("the noise of a rotated row is that of the definition", "[ossh]") {
    constexpr int64_t kColumns = 16, kRows = 5;
    const int64_t b = hadamard_block(kColumns);
    REQUIRE(b == 16);
    const std::vector<float> x = random_batch(kRows * kColumns);
    double energy = 0, noise = 0;
    for (int64_t n = 0; n < kRows; n++) {
        std::vector<double> v(kColumns);
        double largest = 0;
        for (int64_t j = 0; j < kColumns; j++) {
            for (int64_t i = 0; i < kColumns; i++) {
                // Sylvester: the sign of (i, j) is the parity of the bits that both have.
                const double sign = __builtin_popcountll(static_cast<uint64_t>(i & j)) % 2 ? -1 : 1;
                const double value = static_cast<double>(x[n * kColumns + i]) / (i == 3 ? 4 : 1);
                v[j] += sign * value / 4;  // 1 / sqrt(16)
            }
            largest = std::max(largest, std::abs(v[j]));
        }
        for (int64_t j = 0; j < kColumns; j++) {
            const double step = largest / 127, error = v[j] - step * std::nearbyint(v[j] / step);
            noise += error * error;
            energy += static_cast<double>(x[n * kColumns + j]) * static_cast<double>(x[n * kColumns + j]);
        }
    }
    // fp32 against fp64: a value that lies within 1e-5 of a step between two integers may be rounded to the other one,
    // which changes its error from half a step to half a step.
    CHECK(seen({3}, x, kColumns, {4}, b).figures().snr_x_db == Approx(10 * std::log10(energy / noise)).epsilon(1e-4));
}

TEST_CASE("scales are those of the pass", "[ossh]") {
    const OutlierFigures figures = seen({0, 1}, kBatch, 4, {1.5f, 4.5f}).figures();
    CHECK(figures.scale_mean == 3);
    CHECK(figures.scale_min == 1.5);
    CHECK(figures.scale_max == 4.5);
    CHECK(seen({0, 1}, kBatch, 4).figures().scale_max == 0);
}

TEST_CASE("of a step's inputs the first one counts", "[ossh]") {
    OutlierTracker tracker(4, {0}, OutlierStrategy::token_max, 0, /*rotation=*/0);
    cpu::Device device;
    device.threads = 1;
    std::vector<float> s = {2};
    const auto observe = [&](int64_t rows) { tracker.observe(device, Matrix<const float>(kBatch.data(), rows, 4), s); };
    observe(3);  // before the first step: an evaluation
    CHECK(tracker.figures().tokens == 0);
    tracker.begin_step();
    observe(3);
    CHECK(tracker.figures().tokens == 3);
    CHECK(tracker.figures().scale_mean == 2);
    observe(2);  // another micro-batch
    CHECK(tracker.figures().tokens == 3);
    tracker.begin_step();
    observe(1);
    CHECK(tracker.figures().tokens == 1);
    CHECK(tracker.figures().found == Channels{1});
}

TEST_CASE("the figures do not depend on the number of threads", "[ossh]") {
    const std::vector<float> x = random_batch(100 * 64), s = {2, 3, 4};
    const OutlierFigures one = seen({5, 20, 40}, x, 64, s, 64, 1).figures(),
                         three = seen({5, 20, 40}, x, 64, s, 64, 3).figures();
    CHECK(one.found == three.found);
    CHECK(one.energy_outside == three.energy_outside);
    CHECK(one.row_maxima_outside == three.row_maxima_outside);
    CHECK(one.snr_x_db == three.snr_x_db);
}
