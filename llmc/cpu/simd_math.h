// Elementary functions for inner loops. glibc's expf is a call per element unless the whole program is compiled with
// -ffast-math; these are plain arithmetic, which the compiler vectorises.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace cpu {

// e^x to about 1 ulp, in fifteen instructions: x = n ln 2 + r with |r| <= ln 2 / 2, e^x = 2^n e^r, e^r by a polynomial
// with Cephes' coefficients. Between 2^-126.5 and 2^127.5; below (-inf, too) it is 0, above (+inf, too) inf; NaN stays
// NaN.
inline float simd_exp(float x) {
    // In this form each is one instruction and lets NaN through.
    constexpr float kLowest = -88.0f, kHighest = 89.0f;  // n = -127, n = 128: the exponents of 0 and of inf
    x = kLowest > x ? kLowest : x;
    x = kHighest < x ? kHighest : x;

    // The sum's last place is 1, so that n + 127, the biased exponent of 2^n, is left in its low bits.
    constexpr float kRound = 12582912.0f + 127.0f;
    const float shifted = x * 1.44269504088896341f + kRound;
    const float n = shifted - kRound;
    const float power = std::bit_cast<float>(std::bit_cast<uint32_t>(shifted) << 23);
    // ln 2 in two parts, the first with few enough bits that n times it is exact.
    const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * power;
}

inline double simd_exp(double x) {
    return std::exp(x);
}

// tanh x to 2 ulp, small x included: there by a polynomial with Cephes' coefficients, from 0.625 on, where no digits
// cancel, as 1 - 2 / (e^2x + 1). Odd to the bit; NaN stays NaN.
inline float simd_tanh(float x) {
    const float a = std::abs(x);
    const float z = a * a;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    const float small = p * z * a + a;
    const float large = 1.0f - 2.0f / (simd_exp(2.0f * a) + 1.0f);
    return std::copysign(a < 0.625f ? small : large, x);
}

inline double simd_tanh(double x) {
    return std::tanh(x);
}

}  // namespace cpu
