#include "llmc/cpu/rope.h"

#include <complex>

#include "test/catch.h"
#include "test/llmc/cpu/operator_testing.h"

using namespace llmc_test;

namespace {

// Angles of four positions for a rotary part of 2 * half channels.
struct Tables {
    Buffer<float> cos, sin;

    explicit Tables(int64_t half) : cos(4, half), sin(4, half) {
        for (int64_t p = 0; p < 4; p++) {
            for (int64_t i = 0; i < half; i++) {
                const double angle =
                    static_cast<double>(p) * std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
                cos(p, i) = static_cast<float>(std::cos(angle));
                sin(p, i) = static_cast<float>(std::sin(angle));
            }
        }
    }
};

const std::vector<int32_t> kRows{0, 1, 2, 0, 3};

}  // namespace

TEST_CASE("rope turns the pair (i, i + half) of each head by its position's angle and leaves the rest", "[rope]") {
    const int64_t half = GENERATE(4, 3, 0);  // of a head of 8: full rotary, partial rotary, none
    const Tables tables(half);
    const auto before = random_buffer<double>(5, 3 * 8, 1);
    auto heads = before;
    cpu::rope_forward(cpu::Device{2}, heads.view(), tables.cos.view(), tables.sin.view(), kRows, 8);
    for (int64_t n = 0; n < 5; n++) {
        for (int64_t h = 0; h < 3; h++) {
            for (int64_t i = 0; i < half; i++) {
                const std::complex<double> turn(static_cast<double>(tables.cos(kRows[n], i)),
                                                static_cast<double>(tables.sin(kRows[n], i)));
                const auto turned = turn * std::complex<double>(before(n, h * 8 + i), before(n, h * 8 + i + half));
                CHECK(heads(n, h * 8 + i) == Approx(turned.real()).margin(1e-15));
                CHECK(heads(n, h * 8 + i + half) == Approx(turned.imag()).margin(1e-15));
            }
            for (int64_t i = 2 * half; i < 8; i++) CHECK(heads(n, h * 8 + i) == before(n, h * 8 + i));
        }
    }
    CHECK(heads.padding_untouched());
}

TEST_CASE("rope backward is the derivative of rope forward", "[rope]") {
    const Tables tables(3);
    auto x = random_buffer<double>(5, 2 * 8, 1);
    const auto dout = random_buffer<double>(5, 2 * 8, 2);
    auto dx = dout;
    cpu::rope_backward(cpu::Device{2}, dx.view(), tables.cos.view(), tables.sin.view(), kRows, 8);
    const double error = gradient_error(x, dx, [&] {
        auto turned = x;
        cpu::rope_forward(cpu::Device{1}, turned.view(), tables.cos.view(), tables.sin.view(), kRows, 8);
        return inner_product(turned, dout);
    });
    CHECK(error < kGradientTolerance);
}

TEST_CASE("rope of columns of a wider buffer touches only them", "[rope]") {
    const Tables tables(4);
    const auto before = random_buffer<float>(5, 32, 1);
    auto qkv = before;
    cpu::rope_forward(cpu::Device{2}, qkv.view().columns(0, 16), tables.cos.view(), tables.sin.view(), kRows, 8);
    for (int64_t n = 0; n < 5; n++) {
        for (int64_t c = 16; c < 32; c++) CHECK(qkv(n, c) == before(n, c));
    }
    CHECK(qkv(1, 0) != before(1, 0));
}
