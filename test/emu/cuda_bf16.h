// Shadows NVIDIA's cuda_bf16.h. Conversions alone, and all of them explicit: kernels compute in fp32, and code that
// would round between two operations does not compile.
#pragma once

#include <bit>
#include <cstdint>

#include "llmc/core/dtype.h"
#include "test/emu/vector_types.h"

struct __nv_bfloat16_raw {
    unsigned short x;
};

struct __nv_bfloat16 {
    __nv_bfloat16() = default;
    explicit __nv_bfloat16(float value)
        : bits_(value != value ? uint16_t{0x7fff} : llmc::float_to_bf16(value)) {}  // NaN as the hardware writes it
    __nv_bfloat16(__nv_bfloat16_raw raw) : bits_(raw.x) {}
    explicit operator float() const { return llmc::bf16_to_float(bits_); }
    operator __nv_bfloat16_raw() const { return {bits_}; }

  private:
    uint16_t bits_;
};

struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

inline __nv_bfloat16 __float2bfloat16(float x) {
    return __nv_bfloat16(x);
}
inline __nv_bfloat16 __float2bfloat16_rn(float x) {
    return __nv_bfloat16(x);
}
inline float __bfloat162float(__nv_bfloat16 x) {
    return static_cast<float>(x);
}
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
    return {__nv_bfloat16(x), __nv_bfloat16(y)};
}
inline __nv_bfloat162 __float22bfloat162_rn(float2 v) {
    return __floats2bfloat162_rn(v.x, v.y);
}
inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) {
    return {x, y};
}
inline float2 __bfloat1622float2(__nv_bfloat162 v) {
    return {static_cast<float>(v.x), static_cast<float>(v.y)};
}
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) {
    return static_cast<__nv_bfloat16_raw>(x).x;
}
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) {
    return __nv_bfloat16_raw{bits};
}
