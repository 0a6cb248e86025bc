// Elementary functions for inner loops. glibc's expf is a call per element unless the whole program is compiled with
// -ffast-math; these are plain arithmetic that the compiler turns into one vector instruction stream.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace cpu {

// e^x to about 1 ulp: x = n ln 2 + r with |r| <= ln 2 / 2, e^x = 2^n e^r, e^r by Cephes' polynomial.
// -inf and anything below the smallest normal number's logarithm give 0 (a denormal would cost a microcode assist),
// +inf and overflow give inf, NaN gives NaN.
inline float simd_exp(float x) {
    constexpr float kLowest = -87.33654f;  // ln 2^-126
    constexpr float kHighest = 89.0f;      // above ln FLT_MAX = 88.72284: overflows to inf in the last multiplication
    // Written so that a NaN passes through both.
    float clamped = x < kLowest ? kLowest : x;
    clamped = clamped > kHighest ? kHighest : clamped;

    // Adding 1.5 2^23 leaves the nearest integer in the low bits of the sum.
    constexpr float kRound = 12582912.0f;
    const float shifted = clamped * 1.44269504088896341f + kRound;
    const float n = shifted - kRound;
    // ln 2 in two parts, the first with few enough bits that n times it is exact.
    const float r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;

    // 2^n in two factors: 2^128 alone is not a float. Unsigned, so that a NaN's meaningless bits are harmless.
    const uint32_t exponent = std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(kRound);
    const uint32_t half = static_cast<uint32_t>(static_cast<int32_t>(exponent) >> 1);
    const float scale0 = std::bit_cast<float>((half + 127u) << 23);
    const float scale1 = std::bit_cast<float>((exponent - half + 127u) << 23);
    const float result = p * scale0 * scale1;
    return x < kLowest ? 0.0f : result;
}

inline double simd_exp(double x) {
    return std::exp(x);
}

}  // namespace cpu
