// CUDA's small structs: dim3, int4 and friends, with CUDA's alignments.
#pragma once

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
    constexpr operator uint3() const { return {x, y, z}; }
};

// clang-format off
struct alignas(2)  char2     { signed char x, y; };
struct alignas(4)  char4     { signed char x, y, z, w; };
struct alignas(4)  uchar4    { unsigned char x, y, z, w; };
struct alignas(8)  int2      { int x, y; };
struct alignas(16) int4      { int x, y, z, w; };
struct alignas(8)  uint2     { unsigned x, y; };
struct alignas(16) uint4     { unsigned x, y, z, w; };
struct alignas(8)  float2    { float x, y; };
struct alignas(16) float4    { float x, y, z, w; };
struct alignas(16) longlong2 { long long x, y; };
struct alignas(16) double2   { double x, y; };

constexpr char2     make_char2(signed char x, signed char y) { return {x, y}; }
constexpr char4     make_char4(signed char x, signed char y, signed char z, signed char w) { return {x, y, z, w}; }
constexpr uchar4    make_uchar4(unsigned char x, unsigned char y, unsigned char z, unsigned char w) { return {x, y, z, w}; }
constexpr int2      make_int2(int x, int y) { return {x, y}; }
constexpr int4      make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
constexpr uint2     make_uint2(unsigned x, unsigned y) { return {x, y}; }
constexpr uint3     make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
constexpr uint4     make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
constexpr float2    make_float2(float x, float y) { return {x, y}; }
constexpr float4    make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
constexpr longlong2 make_longlong2(long long x, long long y) { return {x, y}; }
constexpr double2   make_double2(double x, double y) { return {x, y}; }
// clang-format on
