#include "llmc/cpu/dropout.h"

#include "test/catch.h"
#include "test/llmc/cpu/operator_testing.h"

using namespace llmc_test;

namespace {

// The mask over 1/(1-p), as the forward applies it to ones.
Buffer<float> mask(int threads, int64_t rows, int64_t cols, float p, DropoutStream stream, int64_t padding = 3) {
    Buffer<float> x(rows, cols), out(rows, cols, padding);
    x.fill(1.0f);
    cpu::dropout_forward(cpu::Device{threads}, out.view(), x.view(), p, stream);
    CHECK(out.padding_untouched());
    return out;
}

int64_t kept(const Buffer<float>& mask) {
    int64_t count = 0;
    for (int64_t n = 0; n < mask.rows(); n++) {
        for (int64_t c = 0; c < mask.cols(); c++) count += mask(n, c) != 0.0f;
    }
    return count;
}

const DropoutStream kStream{12345, 7, 3};

}  // namespace

TEST_CASE("dropout keeps a share of 1 - p and scales it to keep the mean", "[dropout]") {
    const float p = GENERATE(0.0f, 0.1f, 0.5f, 0.9f);
    const auto m = mask(2, 400, 250, p, kStream);
    const double keep = 1.0 - static_cast<double>(p);
    // Five standard deviations of a binomial of 100,000.
    CHECK(static_cast<double>(kept(m)) == Approx(1e5 * keep).margin(5 * std::sqrt(1e5 * keep * (1 - keep))));
    // p is rounded to a multiple of 2^-16: 1 / (1 - p) moves by at most 2^-17 / (1 - p) of itself.
    const float factor = dropout_keep_factor(p);
    CHECK(static_cast<double>(factor) == Approx(1.0 / keep).epsilon(8e-6 / keep));
    for (int64_t c = 0; c < 250; c++) CHECK((m(0, c) == 0.0f || m(0, c) == factor));
}

TEST_CASE("dropout's element (n, c) depends on the stream, n and c, and on nothing else", "[dropout]") {
    const auto m = mask(1, 9, 700, 0.3f, kStream);
    const auto other_shape = mask(3, 5, 333, 0.3f, kStream, 11);
    for (int64_t n = 0; n < 5; n++) {
        for (int64_t c = 0; c < 333; c++) REQUIRE(other_shape(n, c) == m(n, c));
    }
    // Any change of the stream, high halves included, changes about 2 * 0.3 * 0.7 of the elements.
    const auto other =
        GENERATE(DropoutStream{12346, 7, 3}, DropoutStream{12345 + (1ull << 32), 7, 3}, DropoutStream{12345, 8, 3},
                 DropoutStream{12345, 7 + (1ull << 32), 3}, DropoutStream{12345, 7, 4});
    const auto changed = mask(1, 9, 700, 0.3f, other);
    int64_t different = 0;
    for (int64_t n = 0; n < 9; n++) {
        for (int64_t c = 0; c < 700; c++) different += changed(n, c) != m(n, c);
    }
    CHECK(different == Approx(0.42 * 6300).margin(5 * std::sqrt(6300 * 0.42 * 0.58)));
}

TEST_CASE("dropout draws its bits from Philox in the documented places", "[dropout]") {
    const auto m = mask(2, 3, 300, 0.5f, kStream);
    int64_t wrong = 0;
    for (uint32_t n = 0; n < 3; n++) {
        for (uint32_t c = 0; c < 300; c++) {
            const PhiloxWords words = philox4x32_10({c / 8, n, 3, 7}, {12345, 0});
            const uint32_t word[] = {words.x0, words.x1, words.x2, words.x3};
            const uint32_t bits = word[c % 8 / 2] >> (c % 2 * 16) & 0xffff;
            wrong += (m(n, c) != 0.0f) != (bits >= 0x8000u);
        }
    }
    CHECK(wrong == 0);
}

TEST_CASE("dropout backward is the derivative of dropout forward", "[dropout]") {
    auto x = random_buffer<double>(3, 21, 1);
    const auto dout = random_buffer<double>(3, 21, 2);
    Buffer<double> dx(3, 21), out(3, 21);
    cpu::dropout_backward(cpu::Device{2}, dx.view(), dout.view(), 0.4f, kStream);
    const double error = gradient_error(x, dx, [&] {
        cpu::dropout_forward(cpu::Device{1}, out.view(), x.view(), 0.4f, kStream);
        return inner_product(out, dout);
    });
    CHECK(error < kGradientTolerance);
    // Accumulates, and forward may work in place.
    const auto once = dx;
    cpu::dropout_backward(cpu::Device{2}, dx.view(), dout.view(), 0.4f, kStream);
    for (int64_t c = 0; c < 21; c++) CHECK(dx(1, c) == 2 * once(1, c));
    cpu::dropout_forward(cpu::Device{1}, out.view(), x.view(), 0.4f, kStream);
    cpu::dropout_forward(cpu::Device{1}, x.view(), x.view(), 0.4f, kStream);
    CHECK(x == out);
}

TEST_CASE("dropout of next to everything keeps something, of nothing changes nothing", "[dropout]") {
    CHECK(dropout_threshold(0.99999994f) == 65535);
    CHECK(dropout_threshold(0.0f) == 0);
    CHECK(dropout_keep_factor(0.0f) == 1.0f);
}

TEST_CASE("dropout refuses a probability that leaves nothing", "[dropout]") {
    Buffer<float> x(1, 4);
    CHECK_THROWS_AS(
        cpu::dropout_forward(cpu::Device{1}, x.view(), x.view(), GENERATE(1.0f, -0.1f, std::nanf("")), kStream), Error);
}
