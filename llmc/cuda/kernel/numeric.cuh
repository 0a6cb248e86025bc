// What every kernel needs: conversions between the storage types and fp32, 16-byte loads and stores, and reductions
// over a warp and a block.
//
// Every reduction adds in one fixed order, whatever order the warps run in, so its bits repeat.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "llmc/cuda/device.cuh"

namespace cuda {

// ---- conversions: exact to float, to nearest even from it ----

__device__ inline float to_float(float x) {
    return x;
}
__device__ inline float to_float(bf16 x) {
    return __bfloat162float(x);
}
__device__ inline float to_float(fp16 x) {
    return __half2float(x);
}

template <class T>
__device__ T from_float(float x) {
    if constexpr (std::is_same_v<T, bf16>) return __float2bfloat16_rn(x);
    if constexpr (std::is_same_v<T, fp16>) return __float2half_rn(x);
    if constexpr (std::is_same_v<T, float>) return x;
}

// ---- vectors: N elements side by side, moved at once ----

template <class T, int N = 16 / sizeof(T)>
struct Packed {
    static constexpr int size = N;
    static constexpr int bytes = N * static_cast<int>(sizeof(T));
    static constexpr int alignment = bytes < 16 ? bytes : 16;

    alignas(alignment) T values[N];

    __device__ T& operator[](int i) { return values[i]; }
    __device__ const T& operator[](int i) const { return values[i]; }
};

// Whether all rows of the matrix can be read N elements at a time: its first address, stride and width allow it.
template <int N, class T>
bool can_pack(const Matrix<T>& m) {
    return reinterpret_cast<uintptr_t>(m.data) % Packed<T, N>::alignment == 0 && m.stride % N == 0 && m.cols % N == 0;
}

// Columns [c, c + N) of a row of `cols` columns. `packed` (can_pack of the matrix): in one access; else element by
// element, with zeros from column `cols` on.
template <int N, class T>
__device__ Packed<std::remove_const_t<T>, N> load(T* row, int64_t c, int64_t cols, bool packed) {
    Packed<std::remove_const_t<T>, N> v;
    if (packed) {
        v = *reinterpret_cast<const Packed<std::remove_const_t<T>, N>*>(row + c);
    } else {
        for (int i = 0; i < N; i++) v[i] = c + i < cols ? row[c + i] : std::remove_const_t<T>{};
    }
    return v;
}

// The inverse: columns from `cols` on are left alone.
template <int N, class T>
__device__ void store(T* row, int64_t c, int64_t cols, bool packed, const Packed<T, N>& v) {
    if (packed) {
        *reinterpret_cast<Packed<T, N>*>(row + c) = v;
    } else {
        for (int i = 0; i < N; i++)
            if (c + i < cols) row[c + i] = v[i];
    }
}

// ---- reductions: every lane, or every thread, of those that call gets the result ----

constexpr int kWarpSize = 32;
constexpr unsigned kFullMask = 0xffffffff;

struct Sum {
    __device__ float operator()(float a, float b) const { return a + b; }
    static constexpr float identity = 0;
};

struct Max {
    __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
    static constexpr float identity = -INFINITY;
};

// Pairs at distance 16, then 8, 4, 2, 1: both of a pair add the same two numbers, so all 32 lanes hold the same bits.
template <class Reduce>
__device__ float warp_reduce(float x) {
    for (int distance = kWarpSize / 2; distance > 0; distance /= 2)
        x = Reduce{}(x, __shfl_xor_sync(kFullMask, x, distance));
    return x;
}

// All threads of a one-dimensional block of whole warps call it. Ends with a barrier, so it may be called again at
// once.
template <class Reduce>
__device__ float block_reduce(float x) {
    __shared__ float of_warp[kWarpSize];
    const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize, warps = blockDim.x / kWarpSize;
    x = warp_reduce<Reduce>(x);
    if (warps == 1) return x;
    if (lane == 0) of_warp[warp] = x;
    __syncthreads();
    x = warp_reduce<Reduce>(lane < warps ? of_warp[lane] : Reduce::identity);
    __syncthreads();
    return x;
}

__device__ inline float warp_sum(float x) {
    return warp_reduce<Sum>(x);
}
__device__ inline float warp_max(float x) {
    return warp_reduce<Max>(x);
}
__device__ inline float block_sum(float x) {
    return block_reduce<Sum>(x);
}
__device__ inline float block_max(float x) {
    return block_reduce<Max>(x);
}

// The sum over a block of kThreads threads, a power of two, in thread 0 alone: added by halves. It begins with a
// barrier, so it may be called again at once.
template <int kThreads>
__device__ double block_sum_in_double(double x) {
    __shared__ double sums[kThreads];
    __syncthreads();
    sums[threadIdx.x] = x;
    for (unsigned half = kThreads / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    return sums[0];
}

}  // namespace cuda
