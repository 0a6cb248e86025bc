#include "llmc/cpu/quantize.h"

#include <limits>

#include "test/catch.h"
#include "test/llmc/cpu/operator_testing.h"

using namespace llmc_test;

namespace {

const cpu::Device kDevice{2};

// The definition, element by element, with the C library's own rounding to even.
int8_t reference_quantize(float value, float scale) {
    return static_cast<int8_t>(std::max(-127.0f, std::min(127.0f, std::nearbyint(value / scale))));
}

}  // namespace

TEST_CASE("a quantised weight is within half a step and its largest element is 127", "[quantize]") {
    const auto w = random_buffer<float>(9, 61, 1, 0.02);
    Buffer<int8_t> q(9, 61);
    std::vector<float> scale(9);
    cpu::quantize_weight(kDevice, q.view(), scale.data(), w.view(), 0);
    for (int64_t o = 0; o < 9; o++) {
        float largest = 0;
        int largest_q = 0;
        for (int64_t i = 0; i < 61; i++) {
            largest = std::max(largest, std::abs(w(o, i)));
            largest_q = std::max(largest_q, std::abs(int{q(o, i)}));
            CHECK(q(o, i) == reference_quantize(w(o, i), scale[o]));
            // Half a step, plus the roundings of the quotient and the product.
            CHECK(std::abs(w(o, i) - scale[o] * static_cast<float>(q(o, i))) <= scale[o] * 0.50002f);
        }
        CHECK(scale[o] == largest / 127.0f);
        CHECK(largest_q == 127);
    }
    CHECK(q.padding_untouched());
}

TEST_CASE("quantisation rounds half to even and keeps the range symmetric", "[quantize]") {
    Buffer<float> w(1, 9);
    const std::vector<float> values{127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, -127.0f, 126.5f};
    for (int64_t i = 0; i < 9; i++) w(0, i) = values[i];
    Buffer<int8_t> q(1, 9);
    float scale = 0;
    cpu::quantize_weight(kDevice, q.view(), &scale, w.view(), 0);
    CHECK(scale == 1.0f);
    const std::vector<int> expected{127, 0, 2, 2, 0, -2, -2, -127, 126};
    for (int64_t i = 0; i < 9; i++) CHECK(int{q(0, i)} == expected[i]);
}

TEST_CASE("a zero row gets scale 1, denormal rows get finite integers", "[quantize]") {
    Buffer<float> w(3, 4);
    w(1, 2) = std::numeric_limits<float>::denorm_min();
    w(2, 0) = 1e-39f;
    Buffer<int8_t> q(3, 4);
    q.fill(5);
    std::vector<float> scale(3);
    cpu::quantize_weight(kDevice, q.view(), scale.data(), w.view(), 0);
    CHECK(scale[0] == 1.0f);
    CHECK(scale[1] == 1.0f);  // denorm_min / 127 rounds to zero
    for (int64_t i = 0; i < 4; i++) CHECK(int{q(0, i)} == 0);
    CHECK(int{q(2, 0)} == 127);
}

TEST_CASE("infinities and NaN reach the scale, so that the loss shows them", "[quantize]") {
    Buffer<float> x(2, 40), outliers(2, 0);
    x(0, 7) = std::nanf("");
    x(0, 8) = std::numeric_limits<float>::infinity();
    x(1, 39) = -std::numeric_limits<float>::infinity();
    Buffer<int8_t> q(2, 40);
    std::vector<float> scale(2), xmax(1);
    cpu::quantize_rows(kDevice, q.view(), scale.data(), outliers.view(), x.view(), {});
    CHECK(std::isnan(scale[0]));
    CHECK(std::isinf(scale[1]));
    cpu::outlier_absmax(kDevice, xmax.data(), x.view(), std::vector<int32_t>{7});
    CHECK(std::isnan(xmax[0]));
}

TEST_CASE("rows are quantised after their outlier channels are divided by s", "[quantize]") {
    const auto x = random_buffer<float>(7, 53, 1);
    const std::vector<int32_t> channels = GENERATE(std::vector<int32_t>{}, std::vector<int32_t>{0, 11, 12, 52});
    const std::vector<float> s{3.0f, 1.0f, 7.0f, 1.5f};
    const int64_t count = static_cast<int64_t>(channels.size());
    Buffer<int8_t> q(7, 53);
    Buffer<float> outliers(7, count);
    std::vector<float> scale(7);
    cpu::quantize_rows(kDevice, q.view(), scale.data(), outliers.view(), x.view(), {channels, s.data()});
    for (int64_t n = 0; n < 7; n++) {
        std::vector<float> scaled(x.view().row(n), x.view().row(n) + 53);
        for (int64_t j = 0; j < count; j++) {
            scaled[channels[j]] = x(n, channels[j]) / s[j];
            CHECK(outliers(n, j) == scaled[channels[j]]);
        }
        float largest = 0;
        for (float v : scaled) largest = std::max(largest, std::abs(v));
        CHECK(scale[n] == largest / 127.0f);
        for (int64_t i = 0; i < 53; i++) CHECK(q(n, i) == reference_quantize(scaled[i], scale[n]));
    }
    CHECK(q.padding_untouched());
    CHECK(outliers.padding_untouched());
}

TEST_CASE("gradient rows are quantised after the output scales are folded in", "[quantize]") {
    const auto dy = random_buffer<float>(6, 35, 1, 1e-6);
    const auto col_scale = random_vector<float>(35, 2, 0.01);
    Buffer<int8_t> q(6, 35);
    std::vector<float> scale(6);
    cpu::quantize_gradient_rows(kDevice, q.view(), scale.data(), dy.view(), col_scale.data());
    for (int64_t n = 0; n < 6; n++) {
        float largest = 0;
        for (int64_t o = 0; o < 35; o++) largest = std::max(largest, std::abs(dy(n, o) * col_scale[o]));
        CHECK(scale[n] == largest / 127.0f);
        for (int64_t o = 0; o < 35; o++) CHECK(q(n, o) == reference_quantize(dy(n, o) * col_scale[o], scale[n]));
    }
}

TEST_CASE("outlier_absmax is the largest magnitude of each channel", "[quantize]") {
    const auto x = random_buffer<float>(40, 30, 1);
    const std::vector<int32_t> channels{2, 3, 29};
    std::vector<float> xmax(3, -1.0f);
    cpu::outlier_absmax(kDevice, xmax.data(), x.view(), channels);
    for (size_t j = 0; j < 3; j++) {
        float largest = 0;
        for (int64_t n = 0; n < 40; n++) largest = std::max(largest, std::abs(x(n, channels[j])));
        CHECK(xmax[j] == largest);
    }
    cpu::outlier_absmax(kDevice, xmax.data(), x.view().first_rows(0), channels);
    CHECK(xmax[0] == 0.0f);
    cpu::outlier_absmax(kDevice, nullptr, x.view(), {});
}

TEST_CASE("rows may be divided by a scale for every channel, and keep no outliers", "[quantize]") {
    const cpu::Device device{2};
    const int64_t cols = 37;
    const auto x = random_buffer<float>(5, cols, 1);
    std::vector<float> s(cols);
    std::vector<int32_t> channels(cols);
    Buffer<float> divided = x;
    for (int64_t i = 0; i < cols; i++) {
        channels[i] = static_cast<int32_t>(i);
        s[i] = 0.25f + 0.3f * static_cast<float>(i % 7);
        for (int64_t n = 0; n < 5; n++) divided(n, i) = x(n, i) / s[i];
    }
    Buffer<int8_t> q(5, cols), expected(5, cols);
    std::vector<float> scale(5), expected_scale(5);
    cpu::quantize_weight(device, expected.view(), expected_scale.data(), divided.view(), 0);
    cpu::quantize_rows(device, q.view(), scale.data(), {}, x.view(), {.channels = channels, .s = s.data()});
    CHECK(q == expected);
    CHECK(scale == expected_scale);
    // And for some of them.
    channels.resize(3);
    divided = x;
    for (int64_t i = 0; i < 3; i++)
        for (int64_t n = 0; n < 5; n++) divided(n, i) = x(n, i) / s[i];
    cpu::quantize_weight(device, expected.view(), expected_scale.data(), divided.view(), 0);
    cpu::quantize_rows(device, q.view(), scale.data(), {}, x.view(), {.channels = channels, .s = s.data()});
    CHECK(q == expected);
    CHECK(scale == expected_scale);
}

TEST_CASE("columns of a quantised weight are dequantised", "[quantize]") {
    Buffer<int8_t> q(3, 20);
    for (int64_t o = 0; o < 3; o++)
        for (int64_t i = 0; i < 20; i++) q(o, i) = static_cast<int8_t>(o * 20 + i - 30);
    const std::vector<float> scale{0.5f, 2.0f, 0.25f};
    const std::vector<int32_t> channels{0, 7, 19};
    Buffer<float> w(3, 3);
    cpu::dequantize_columns(cpu::Device{2}, w.view(), q.view(), scale.data(), channels);
    for (int64_t o = 0; o < 3; o++)
        for (int64_t j = 0; j < 3; j++) CHECK(w(o, j) == scale[o] * static_cast<float>(o * 20 + channels[j] - 30));
    CHECK(w.padding_untouched());
}
