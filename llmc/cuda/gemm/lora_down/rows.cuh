// What the kernels of lora_down.cuh share: rows loaded as registers of two elements, dropout on them, sums over warps.
#pragma once

#include <cstdint>
#include <cstring>

#include "llmc/core/operator_options.h"
#include "llmc/cuda/dropout.cuh"
#include "llmc/cuda/kernel/mma.cuh"
#include "llmc/cuda/runtime/launch.cuh"

namespace cuda {

constexpr int64_t kMostFusedRank = 64;  // of a layer's adapters together

// N of T, 16 bits each, as registers of two.
template <class T, int N>
__device__ Packed<uint32_t, N / 2> register_words(const Packed<T, N>& values) {
    Packed<uint32_t, N / 2> words;
    static_assert(sizeof words == sizeof values);
    memcpy(&words, &values, sizeof words);
    return words;
}
using EightWords = Packed<uint32_t, 4>;  // an Eight as such

// The inverse of pack (mma.cuh).
template <class T>
__device__ Packed<float, 2> unpack(uint32_t pair) {
    T values[2];
    memcpy(static_cast<void*>(values), &pair, sizeof pair);
    return {to_float(values[0]), to_float(values[1])};
}

// Of two registers of two elements: the first ones of both, or the second ones.
__device__ inline uint32_t zip(uint32_t low, uint32_t high, bool second) {
    return __byte_perm(low, high, second ? 0x7632 : 0x5410);
}

// Columns c .. c+7 of row n; zeros beyond the matrix, which can_pack<8>. Indices are ints, which take half the
// registers.
template <class T>
__device__ Eight<T> eight_or_zeros(const Matrix<const T>& m, int n, int c) {
    if (n >= static_cast<int>(m.rows) || c >= static_cast<int>(m.cols)) return {};
    return *reinterpret_cast<const Eight<T>*>(m.row(n) + c);
}

// Eight columns of four rows of x.
struct FourRows {
    EightWords of[4];
};

template <class T>
__device__ FourRows load_rows(const Matrix<const T>& x, int first_row, int row_step, int c) {
    FourRows rows;
#pragma unroll
    for (int i = 0; i < 4; i++) rows.of[i] = register_words(eight_or_zeros(x, first_row + row_step * i, c));
    return rows;
}

// A bit for each of columns c .. c+7 of row n: whether it is kept.
__device__ inline uint32_t kept_bits(const Dropout& dropout, int n, int c) {
    return dropout.p > 0 ? dropout_bits(dropout.stream, n, c, dropout.p) : 0xff;
}

// x becomes D(x).
template <class T>
__device__ void drop(FourRows& rows, const Dropout& dropout, int first_row, int row_step, int c) {
    if (dropout.p == 0) return;
    // A byte for each row, one after the other: all at once would take too many registers.
    uint32_t kept = 0;
#pragma unroll 1
    for (int i = 0; i < 4; i++) kept |= kept_bits(dropout, first_row + row_step * i, c) << (8 * i);
    const float keep_factor = dropout_keep_factor(dropout.p);
    const auto factor = [&](int i) { return kept >> i & 1 ? keep_factor : 0.0f; };
#pragma unroll
    for (int i = 0; i < 16; i++) {
        uint32_t& pair = rows.of[i / 4][i % 4];
        const auto values = unpack<T>(pair);
        pair = pack<T>(values[0] * factor(2 * i), values[1] * factor(2 * i + 1));
    }
}

// Shared memory that sum_of_warps needs for kSums of each lane.
constexpr size_t bytes_of_sums(int threads, int sums) {
    return static_cast<size_t>(threads / 2 * sums) * sizeof(float);
}

// Gives the first warp's lanes the sums over all of the block's 2^k warps, added by halves, in a fixed order.
template <int kSums>
__device__ void sum_of_warps(float* own) {
    const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize, warps = blockDim.x / kWarpSize;
    for (int half = warps / 2; half > 0; half /= 2) {
        float* shared = shared_memory<float>() + warp % half * kSums * kWarpSize + lane;
        if (warp >= half && warp < 2 * half) {
#pragma unroll
            for (int i = 0; i < kSums; i++) shared[i * kWarpSize] = own[i];
        }
        __syncthreads();  // the upper half's sums are there
        if (warp < half) {
#pragma unroll
            for (int i = 0; i < kSums; i++) own[i] += shared[i * kWarpSize];
        }
        __syncthreads();  // and read
    }
}

// Calls launch.operator()<kSteps>() for the fewest steps of 16 that hold the rank.
template <class Launch>
void with_steps_of(int64_t rank, const Dropout& dropout, const Launch& launch) {
    require(dropout.p >= 0.0f && dropout.p < 1.0f, "dropout ", dropout.p, " is not in [0, 1)");
    require(rank <= kMostFusedRank, "the adapters' kernels take ranks of up to ", kMostFusedRank,
            " together, and this one is ", rank);
    if (rank <= 16)
        launch.template operator()<1>();
    else if (rank <= 32)
        launch.template operator()<2>();
    else if (rank <= 48)
        launch.template operator()<3>();
    else
        launch.template operator()<4>();
}

}  // namespace cuda
