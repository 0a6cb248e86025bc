#include "llmc/cpu/soft_cap.h"

#include "test/catch.h"
#include "test/llmc/cpu/operator_testing.h"

using namespace llmc_test;

namespace {

const cpu::Device kDevice{2};

}  // namespace

TEST_CASE("a soft cap is cap tanh(x / cap), for small values, too", "[soft_cap]") {
    const float cap = GENERATE(0.3f, 30.0f);
    auto x = random_buffer<float>(5, 203, 1, 20.0);
    for (int64_t c = 0; c < 203; c++) x(0, c) *= 1e-6f;
    const auto before = x;
    cpu::soft_cap<float>(kDevice, x.view(), cap);
    for (int64_t n = 0; n < 5; n++) {
        for (int64_t c = 0; c < 203; c++) {
            const double exact = double{cap} * std::tanh(double{before(n, c)} / double{cap});
            // 1 / cap, x / cap, the tanh's 2 ulp, the product.
            REQUIRE(std::abs(double{x(n, c)} - exact) <= 4e-7 * std::abs(exact));
        }
    }
    CHECK(x.padding_untouched());
}

TEST_CASE("the slope of a soft cap is its derivative", "[soft_cap]") {
    const cpu::SoftCap<double> capped(1.5f);
    auto x = random_buffer<double>(1, 50, 2, 2.0);
    Buffer<double> slope(1, 50);
    for (int64_t c = 0; c < 50; c++) slope(0, c) = capped.slope(capped(x(0, c)));
    const double error = gradient_error(x, slope, [&] {
        double sum = 0;
        for (int64_t c = 0; c < 50; c++) sum += capped(x(0, c));
        return sum;
    });
    CHECK(error < kGradientTolerance);
}

TEST_CASE("a soft cap of 0 is none, one below is refused", "[soft_cap]") {
    auto x = random_buffer<float>(2, 9, 3, 100.0);
    const auto before = x;
    cpu::soft_cap<float>(kDevice, x.view(), 0.0f);
    CHECK(x == before);
    for (const float cap : {-1.0f, std::nanf(""), INFINITY})
        CHECK_THROWS_WITH(cpu::soft_cap<float>(kDevice, x.view(), cap),
                          Catch::Matchers::ContainsSubstring("soft cap is a positive number"));
}
