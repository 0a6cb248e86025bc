#include "llmc/core/dtype.h"

#include <cmath>
#include <limits>
#include <vector>

#include "test/catch.h"

using namespace llmc;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The value of an F16 by its definition, in double.
double f16_value(uint16_t half) {
    const int exponent = half >> 10 & 31, mantissa = half & 1023;
    const double sign = half & 0x8000 ? -1 : 1;
    if (exponent == 31) return mantissa != 0 ? std::nan("") : sign * kInfinity;
    return exponent == 0 ? sign * std::ldexp(mantissa, -24) : sign * std::ldexp(1024 + mantissa, exponent - 25);
}

}  // namespace

TEST_CASE("every F16 widens to the value its bits define, and narrows back to itself", "[dtype]") {
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
        const auto half = static_cast<uint16_t>(bits);
        const double expected = f16_value(half);
        const float widened = f16_to_float(half);
        INFO("bits " << bits);
        if (std::isnan(expected)) {
            REQUIRE(std::isnan(widened));
            REQUIRE(std::isnan(f16_to_float(float_to_f16(widened))));
        } else {
            REQUIRE(static_cast<double>(widened) == expected);
            REQUIRE(float_to_f16(widened) == half);
        }
    }
}

TEST_CASE("a float between two F16 goes to the nearer one, half way to the even one", "[dtype]") {
    // All neighbours of one sign: up to 0x7bff, 65504, whose upper neighbour would be 65536 and is infinity instead.
    for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
        const auto low = static_cast<uint16_t>(bits), high = static_cast<uint16_t>(bits + 1);
        const double upper = bits == 0x7bff ? 65536.0 : f16_value(high);
        const auto middle = static_cast<float>((f16_value(low) + upper) / 2);  // exact: one bit more than an F16 has
        const uint16_t even = bits % 2 == 0 ? low : high;
        INFO("bits " << bits);
        REQUIRE(float_to_f16(middle) == even);
        REQUIRE(float_to_f16(-middle) == (even | 0x8000));
        REQUIRE(float_to_f16(std::nextafter(middle, 0.0f)) == low);
        REQUIRE(float_to_f16(std::nextafter(middle, kInfinity)) == high);
    }
    CHECK(float_to_f16(kInfinity) == 0x7c00);
    CHECK(float_to_f16(1e30f) == 0x7c00);
    CHECK(float_to_f16(1e-30f) == 0);
    CHECK(float_to_f16(-0.0f) == 0x8000);
}

TEST_CASE("BF16 is the upper half of a float, rounded to nearest even", "[dtype]") {
    CHECK(bf16_to_float(0x3f80) == 1.0f);
    CHECK(bf16_to_float(0xc040) == -3.0f);
    CHECK(float_to_bf16(1.0f) == 0x3f80);
    CHECK(float_to_bf16(1.0f + 0x1p-8f) == 0x3f80);             // half way, even below
    CHECK(float_to_bf16(1.0f + 0x3p-8f) == 0x3f82);             // half way, even above
    CHECK(float_to_bf16(1.0f + 0x1p-8f + 0x1p-23f) == 0x3f81);  // a little more than half
    CHECK(float_to_bf16(std::numeric_limits<float>::max()) == 0x7f80);
    CHECK(float_to_bf16(-kInfinity) == 0xff80);
    // Rounding would turn a NaN whose mantissa is all ones into -0.
    CHECK(std::isnan(bf16_to_float(float_to_bf16(std::bit_cast<float>(0xffffffffu)))));
    CHECK(std::isnan(bf16_to_float(float_to_bf16(std::bit_cast<float>(0x7f800001u)))));
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
        const float value = bf16_to_float(static_cast<uint16_t>(bits));
        if (!std::isnan(value)) REQUIRE(float_to_bf16(value) == bits);
    }
}

TEST_CASE("arrays convert like their elements, from and to any address", "[dtype]") {
    const int64_t n = 37;  // a few vectors and a rest
    std::vector<float> values;
    for (int64_t i = 0; i < n; ++i) values.push_back(0.37f * static_cast<float>(i * i) - 11);
    for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
        std::vector<std::byte> bytes(static_cast<size_t>(n * size_of(dtype) + 1));
        from_float(dtype, values.data(), bytes.data() + 1, n);
        std::vector<float> back(static_cast<size_t>(n));
        to_float(dtype, bytes.data() + 1, back.data(), n);
        for (size_t i = 0; i < values.size(); ++i) {
            const float x = values[i];
            const float expected = dtype == DType::f32   ? x
                                   : dtype == DType::f16 ? f16_to_float(float_to_f16(x))
                                                         : bf16_to_float(float_to_bf16(x));
            CHECK(back[i] == expected);
        }
    }
}
