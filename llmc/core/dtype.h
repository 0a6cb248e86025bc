// The three number formats that weights come in, and conversions from and to float.
//
//   F32    1 sign, 8 exponent, 23 mantissa bits
//   F16    1, 5, 10: largest finite value 65504, subnormals down to 2^-24
//   BF16   1, 8, 7: the upper half of an F32
//
// Widening is exact. Narrowing rounds to nearest, ties to even, as PyTorch does; values too large become infinity, NaN
// stays NaN. The loops have no branches, so that the compiler vectorises them. Sources and destinations may be
// unaligned: a safetensors file puts its tensors at any byte.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace llmc {

enum class DType { f32, f16, bf16 };

constexpr int64_t size_of(DType dtype) {
    return dtype == DType::f32 ? 4 : 2;
}

// As safetensors spells them.
constexpr const char* name_of(DType dtype) {
    return dtype == DType::f32 ? "F32" : dtype == DType::f16 ? "F16" : "BF16";
}

inline float bf16_to_float(uint16_t bits) {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

inline uint16_t float_to_bf16(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const uint32_t quiet_nan = (bits >> 16) | 0x40;  // rounding could carry a NaN's mantissa over into infinity or -0
    return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet_nan : rounded);
}

inline float f16_to_float(uint16_t half) {
    const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
    const uint32_t magnitude = half & 0x7fff;
    // The exponent's bias goes from 15 to 127; infinity and NaN go from 31 to 255.
    const uint32_t bias = magnitude >= 0x7c00 ? 2 * (127 - 15) : 127 - 15;
    const float normal = std::bit_cast<float>((magnitude << 13) + (bias << 23));
    const float subnormal = static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude < 0x400 ? subnormal : normal));
}

inline uint16_t float_to_f16(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint32_t sign = (bits >> 16) & 0x8000;
    const uint32_t magnitude = bits & 0x7fffffff;
    const uint32_t normal = (magnitude + 0xfff + ((magnitude >> 13) & 1) - ((127 - 15) << 23)) >> 13;
    // Below 2^-14: one ulp of a float in [0.5, 1) is 2^-24, the step of F16's subnormals, so the addition rounds.
    const uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000;
    uint32_t result = magnitude < 0x38800000 ? subnormal : normal;
    result = magnitude >= 0x477ff000 ? 0x7c00 : result;  // 65520, half way between 65504 and 2^16, and above
    result = magnitude > 0x7f800000 ? 0x7e00 | ((magnitude >> 13) & 0x3ff) : result;
    return static_cast<uint16_t>(sign | result);
}

// out[i] = in[i], widened.
inline void to_float(DType dtype, const std::byte* in, float* out, int64_t n) {
    if (n == 0) return;  // memcpy must not get a null pointer, not even for 0 bytes
    if (dtype == DType::f32) {
        std::memcpy(out, in, static_cast<size_t>(n) * sizeof(float));
    } else if (dtype == DType::f16) {
        for (int64_t i = 0; i < n; ++i) {
            uint16_t bits;
            std::memcpy(&bits, in + 2 * i, 2);
            out[i] = f16_to_float(bits);
        }
    } else {
        for (int64_t i = 0; i < n; ++i) {
            uint16_t bits;
            std::memcpy(&bits, in + 2 * i, 2);
            out[i] = bf16_to_float(bits);
        }
    }
}

// out[i] = in[i], rounded.
inline void from_float(DType dtype, const float* in, std::byte* out, int64_t n) {
    if (n == 0) return;
    if (dtype == DType::f32) {
        std::memcpy(out, in, static_cast<size_t>(n) * sizeof(float));
    } else if (dtype == DType::f16) {
        for (int64_t i = 0; i < n; ++i) {
            const uint16_t bits = float_to_f16(in[i]);
            std::memcpy(out + 2 * i, &bits, 2);
        }
    } else {
        for (int64_t i = 0; i < n; ++i) {
            const uint16_t bits = float_to_bf16(in[i]);
            std::memcpy(out + 2 * i, &bits, 2);
        }
    }
}

// The value of the type that is nearest.
inline float rounded_to(DType dtype, float value) {
    std::byte bytes[sizeof(float)];
    from_float(dtype, &value, bytes, 1);
    to_float(dtype, bytes, &value, 1);
    return value;
}

// Calls convert(begin, end) for pieces of [0, n), on all threads if there are several pieces. It must not throw.
template <class Convert>
void in_pieces(int64_t n, const Convert& convert) {
    constexpr int64_t kPiece = 1 << 16;
#pragma omp parallel for schedule(static) if (n > kPiece)
    for (int64_t begin = 0; begin < n; begin += kPiece) convert(begin, std::min(begin + kPiece, n));
}

}  // namespace llmc
