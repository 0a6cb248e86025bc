#include "llmc/cpu/simd_math.h"

#include <limits>

#include "test/catch.h"

TEST_CASE("simd_exp is within two units in the last place of exp", "[simd_math]") {
    double worst = 0;
    for (double x = -87.3; x < 88.3; x += 0.00137) {
        const float argument = static_cast<float>(x);
        const double exact = std::exp(static_cast<double>(argument));
        const double ulp =
            static_cast<double>(std::nextafter(static_cast<float>(exact), 1e38f)) - static_cast<float>(exact);
        worst = std::max(worst, std::abs(static_cast<double>(cpu::simd_exp(argument)) - exact) / ulp);
    }
    CHECK(worst < 2.0);
    CHECK(worst > 0.0);
}

TEST_CASE("simd_tanh is within two units in the last place of tanh, and odd", "[simd_math]") {
    double worst = 0;
    bool odd = true;
    const auto check = [&](float x) {
        const double exact = std::tanh(static_cast<double>(x));
        const double ulp =
            static_cast<double>(std::nextafter(static_cast<float>(exact), 1e38f)) - static_cast<float>(exact);
        worst = std::max(worst, std::abs(static_cast<double>(cpu::simd_tanh(x)) - exact) / ulp);
        odd = odd && cpu::simd_tanh(-x) == -cpu::simd_tanh(x);
    };
    for (double x = 1e-4; x < 12; x += 0.00013) check(static_cast<float>(x));
    for (double x = 1e-30; x < 1; x *= 1.01) check(static_cast<float>(x));
    CHECK(worst < 2.0);
    CHECK(worst > 0.0);
    CHECK(odd);
}

TEST_CASE("simd_tanh keeps to its ends", "[simd_math]") {
    const float inf = std::numeric_limits<float>::infinity();
    CHECK(cpu::simd_tanh(0.0f) == 0.0f);
    CHECK(std::signbit(cpu::simd_tanh(-0.0f)));
    for (const float x : {20.0f, 1e30f, inf}) {
        CHECK(cpu::simd_tanh(x) == 1.0f);
        CHECK(cpu::simd_tanh(-x) == -1.0f);
    }
    CHECK(std::isnan(cpu::simd_tanh(std::nanf(""))));
}

TEST_CASE("simd_exp keeps to its ends", "[simd_math]") {
    const float inf = std::numeric_limits<float>::infinity();
    CHECK(cpu::simd_exp(0.0f) == 1.0f);
    CHECK(cpu::simd_exp(-0.0f) == 1.0f);
    CHECK(cpu::simd_exp(-inf) == 0.0f);
    CHECK(cpu::simd_exp(-1000.0f) == 0.0f);
    CHECK(cpu::simd_exp(-std::numeric_limits<float>::max()) == 0.0f);
    CHECK(cpu::simd_exp(-87.3f) > 0.0f);
    CHECK(cpu::simd_exp(-88.0f) == 0.0f);
    CHECK(cpu::simd_exp(88.3f) == Approx(std::exp(static_cast<double>(88.3f))).epsilon(1e-6));
    CHECK(cpu::simd_exp(88.73f) == inf);
    CHECK(cpu::simd_exp(1000.0f) == inf);
    CHECK(cpu::simd_exp(std::numeric_limits<float>::max()) == inf);
    CHECK(cpu::simd_exp(inf) == inf);
    CHECK(std::isnan(cpu::simd_exp(std::nanf(""))));
}
