// What kernels call: barriers, warp shuffles and votes, atomics, and the arithmetic that CUDA adds to C.
//
// Fast intrinsics (__expf, rsqrtf, ...) compute the correctly rounded or the C library's result; the hardware's may
// differ in the last bits.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <source_location>

#include "test/emu/scheduler.h"
#include "test/emu/thread_variables.h"

// Barriers.

inline void __syncthreads(std::source_location where = std::source_location::current()) {
    emu::Scheduler::of_this_os_thread().barrier("__syncthreads", where);
}
inline int __syncthreads_count(int predicate, std::source_location where = std::source_location::current()) {
    return emu::Scheduler::of_this_os_thread().vote("__syncthreads_count", predicate != 0, where);
}
inline int __syncthreads_or(int predicate, std::source_location where = std::source_location::current()) {
    return emu::Scheduler::of_this_os_thread().vote("__syncthreads_or", predicate != 0, where) != 0;
}
inline int __syncthreads_and(int predicate, std::source_location where = std::source_location::current()) {
    return emu::Scheduler::of_this_os_thread().vote("__syncthreads_and", predicate == 0, where) == 0;
}
inline void __syncwarp(unsigned mask = 0xffffffff, std::source_location where = std::source_location::current()) {
    emu::Scheduler::of_this_os_thread().collective("__syncwarp", mask, nullptr, nullptr, where);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// Shuffles: lane l gets the value of lane source(l), which must be in the mask, too.

namespace emu {

template <class T>
T shuffle(const char* name, unsigned mask, T value, int source, std::source_location where) {
    struct Lane {
        T value, result;
        int source;
    } self{value, value, source};
    Scheduler::of_this_os_thread().collective(
        name, mask, &self,
        [](void* const(&lanes)[kWarpSize]) {
            for (int l = 0; l < kWarpSize; l++) {
                auto* lane = static_cast<Lane*>(lanes[l]);
                if (!lane) continue;
                const auto* from = static_cast<const Lane*>(lanes[lane->source]);
                if (!from)
                    Scheduler::of_this_os_thread().fail("lane " + std::to_string(l) + " shuffles from lane " +
                                                        std::to_string(lane->source) + ", which is not in the mask");
                lane->result = from->value;
            }
        },
        where);
    return self.result;
}

inline int lane_id() {
    return static_cast<int>((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % kWarpSize);
}

}  // namespace emu

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              std::source_location where = std::source_location::current()) {
    const int lane = emu::lane_id();
    return emu::shuffle("__shfl_sync", mask, value, lane / width * width + (source & (width - 1)), where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                  std::source_location where = std::source_location::current()) {
    const int lane = emu::lane_id(), source = lane ^ lane_mask;
    return emu::shuffle("__shfl_xor_sync", mask, value, source < (lane / width + 1) * width ? source : lane, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   std::source_location where = std::source_location::current()) {
    const int lane = emu::lane_id(), source = lane + static_cast<int>(delta);
    return emu::shuffle("__shfl_down_sync", mask, value, source < (lane / width + 1) * width ? source : lane, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 std::source_location where = std::source_location::current()) {
    const int lane = emu::lane_id(), source = lane - static_cast<int>(delta);
    return emu::shuffle("__shfl_up_sync", mask, value, source >= lane / width * width ? source : lane, where);
}

// Votes.

namespace emu {

// The mask of lanes whose predicate is true.
inline unsigned ballot(const char* name, unsigned mask, int predicate, std::source_location where) {
    struct Lane {
        bool predicate;
        unsigned result;
    } self{predicate != 0, 0};
    Scheduler::of_this_os_thread().collective(
        name, mask, &self,
        [](void* const(&lanes)[kWarpSize]) {
            unsigned result = 0;
            for (int l = 0; l < kWarpSize; l++)
                if (lanes[l] && static_cast<Lane*>(lanes[l])->predicate) result |= 1u << l;
            for (void* lane : lanes)
                if (lane) static_cast<Lane*>(lane)->result = result;
        },
        where);
    return self.result;
}

}  // namespace emu

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              std::source_location where = std::source_location::current()) {
    return emu::ballot("__ballot_sync", mask, predicate, where);
}
inline int __any_sync(unsigned mask, int predicate, std::source_location where = std::source_location::current()) {
    return emu::ballot("__any_sync", mask, predicate, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate, std::source_location where = std::source_location::current()) {
    return emu::ballot("__all_sync", mask, predicate, where) == mask;
}

// Atomics on integers alone: a sum of floats would depend on who comes first.

template <class T>
requires std::is_integral_v<T> T atomicAdd(T* address, std::type_identity_t<T> value) {
    return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
template <class T>
requires std::is_integral_v<T> T atomicExch(T* address, std::type_identity_t<T> value) {
    return __atomic_exchange_n(address, value, __ATOMIC_RELAXED);
}
template <class T>
requires std::is_integral_v<T> T atomicCAS(T* address, std::type_identity_t<T> expected,
                                           std::type_identity_t<T> value) {
    __atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return expected;
}
template <class T>
requires std::is_integral_v<T> T atomicMax(T* address, std::type_identity_t<T> value) {
    T old = __atomic_load_n(address, __ATOMIC_RELAXED);
    while (old < value &&
           !__atomic_compare_exchange_n(address, &old, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return old;
}
template <class T>
requires std::is_integral_v<T> T atomicMin(T* address, std::type_identity_t<T> value) {
    T old = __atomic_load_n(address, __ATOMIC_RELAXED);
    while (value < old &&
           !__atomic_compare_exchange_n(address, &old, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return old;
}
template <class T>
requires std::is_integral_v<T> T atomicOr(T* address, std::type_identity_t<T> value) {
    return __atomic_fetch_or(address, value, __ATOMIC_RELAXED);
}

// Loads and stores with a hint for the caches.

// clang-format off
template <class T> T __ldg(const T* address) { return *address; }
template <class T> T __ldcs(const T* address) { return *address; }
template <class T> T __ldcg(const T* address) { return *address; }
template <class T> T __ldca(const T* address) { return *address; }
template <class T> void __stcs(T* address, std::type_identity_t<T> value) { *address = value; }
template <class T> void __stcg(T* address, std::type_identity_t<T> value) { *address = value; }

// Bits.

inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(uint64_t{a} * b >> 32); }

// Arithmetic.

constexpr int min(int a, int b) { return a < b ? a : b; }
constexpr int max(int a, int b) { return a < b ? b : a; }
constexpr unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
constexpr unsigned max(unsigned a, unsigned b) { return a < b ? b : a; }
constexpr long min(long a, long b) { return a < b ? a : b; }
constexpr long max(long a, long b) { return a < b ? b : a; }
constexpr long long min(long long a, long long b) { return a < b ? a : b; }
constexpr long long max(long long a, long long b) { return a < b ? b : a; }
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }

inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __exp2f(float x) { return std::exp2(x); }
inline float __logf(float x) { return std::log(x); }
inline float __log2f(float x) { return std::log2(x); }
inline float __sinf(float x) { return std::sin(x); }
inline float __cosf(float x) { return std::cos(x); }
inline float __powf(float x, float y) { return std::pow(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __frsqrt_rn(float x) { return static_cast<float>(1 / std::sqrt(static_cast<double>(x))); }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __saturatef(float x) { return fminf(fmaxf(x, 0.0f), 1.0f); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
// clang-format on

// To the nearest, ties to even; saturates, and NaN becomes 0.
inline int __float2int_rn(float x) {
    if (std::isnan(x)) return 0;
    return static_cast<int>(std::nearbyint(std::fmin(std::fmax(static_cast<double>(x), -0x1p31), 0x1p31 - 1)));
}
inline int __float2int_rz(float x) {
    if (std::isnan(x)) return 0;
    return static_cast<int>(std::trunc(std::fmin(std::fmax(static_cast<double>(x), -0x1p31), 0x1p31 - 1)));
}

// sum + the dot product of four signed bytes.
inline int __dp4a(int a, int b, int sum) {
    signed char x[4], y[4];
    std::memcpy(x, &a, 4);
    std::memcpy(y, &b, 4);
    for (int i = 0; i < 4; i++) sum += x[i] * y[i];
    return sum;
}

// Four of the eight bytes of y:x, chosen by the low three bits of each nibble of the selector.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    const uint64_t bytes = uint64_t{y} << 32 | x;
    unsigned result = 0;
    for (int i = 0; i < 4; i++)
        result |= static_cast<unsigned>(bytes >> ((selector >> (4 * i) & 7) * 8) & 0xff) << (8 * i);
    return result;
}
