// Shadows NVIDIA's cuda_fp16.h. Conversions alone, and all of them explicit: kernels compute in fp32, and code that
// would round between two operations does not compile.
#pragma once

#include <bit>
#include <cstdint>

#include "llmc/core/dtype.h"
#include "test/emu/vector_types.h"

struct __half_raw {
    unsigned short x;
};

struct __half {
    __half() = default;
    explicit __half(float value)
        : bits_(value != value ? uint16_t{0x7fff} : llmc::float_to_f16(value)) {}  // NaN as the hardware writes it
    __half(__half_raw raw) : bits_(raw.x) {}
    explicit operator float() const { return llmc::f16_to_float(bits_); }
    operator __half_raw() const { return {bits_}; }

  private:
    uint16_t bits_;
};

struct alignas(4) __half2 {
    __half x, y;
};

inline __half __float2half(float x) {
    return __half(x);
}
inline __half __float2half_rn(float x) {
    return __half(x);
}
inline float __half2float(__half x) {
    return static_cast<float>(x);
}
inline __half2 __floats2half2_rn(float x, float y) {
    return {__half(x), __half(y)};
}
inline __half2 __float22half2_rn(float2 v) {
    return __floats2half2_rn(v.x, v.y);
}
inline __half2 __halves2half2(__half x, __half y) {
    return {x, y};
}
inline float2 __half22float2(__half2 v) {
    return {static_cast<float>(v.x), static_cast<float>(v.y)};
}
inline unsigned short __half_as_ushort(__half x) {
    return static_cast<__half_raw>(x).x;
}
inline __half __ushort_as_half(unsigned short bits) {
    return __half_raw{bits};
}
