// What the tensor-core attention kernels are made of: tiles of a head's rows in shared memory, the registers of a warp
// that owns 32 rows, and the two kinds of product between them.
//
//   multiply_nt   C[32, n] += A[32, head_dim] B[n, head_dim]^T    both from shared memory
//   multiply_nn   C[32, head_dim] += A[32, n] B[n, head_dim]      A from registers, an earlier C rounded to T
//
// 32 rows are two of the mma, and what ldmatrix loads of B serves both; with 16 rows, shared memory would be read twice
// for as many products.
#pragma once

#include "llmc/core/operator_options.h"
#include "llmc/cuda/device.cuh"
#include "llmc/cuda/kernel/mma.cuh"
#include "llmc/cuda/kernel/numeric.cuh"
#include "llmc/cuda/kernel/shared_tile.cuh"

namespace cuda {

constexpr int kWarpRows = 32;

constexpr float kLog2e = 1.4426950408889634f;

// 2^x to 2 ulp, in one instruction: exp(x) = 2^(x log2 e).
__device__ inline float exp2_approximate(float x) {
#ifdef __CUDA_ARCH__
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
#else
    return exp2f(x);
#endif
}

// 1 / x to 1 ulp, in one instruction; 0 of inf.
__device__ inline float reciprocal_approximate(float x) {
#ifdef __CUDA_ARCH__
    float result;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
#else
    return 1.0f / x;
#endif
}

// x, hidden from the compiler: what depends on it is computed where it is used, not early and kept.
template <class Integer>
__device__ inline Integer anew(Integer x) {
#ifdef __CUDA_ARCH__
    asm volatile("" : "+r"(x));
#endif
    return x;
}
__device__ inline float anew(float x) {
#ifdef __CUDA_ARCH__
    asm volatile("" : "+f"(x));
#endif
    return x;
}

// Rows of one head in shared memory.
template <class T, int kHeadDim>
struct HeadTile : SharedTile<T, kHeadDim> {
    using Base = SharedTile<T, kHeadDim>;
    using Base::chunk, Base::kChunks, Base::kOfChunk;

    // Starts loading rows begin .. begin + rows - 1 of a head. The swizzle moves a chunk within a group of kGroup, so
    // the chunks of a row that a thread loads, one of each group, are equally far apart in both memories.
    __device__ void load(const Matrix<const T>& head, int begin, int rows) const {
        constexpr int kGroup = 1 << Base::kSwizzleBits;
        const int index = threadIdx.x % kGroup;
        for (int row = threadIdx.x / kGroup; row < rows; row += blockDim.x / kGroup) {
            T* const to = chunk(row, index);
            const T* const from = head.row(begin + row) + index * kOfChunk;
            const bool present = begin + row < head.rows;
#pragma unroll
            for (int k = 0; k < kChunks * kOfChunk; k += kGroup * kOfChunk) cp_async_16(to + k, from + k, present);
        }
    }
};

// Mma accumulators, [32 rows of the warp, 8 kTiles columns]: a lane has columns 8 t + lane_column() + {0, 1} of rows
// lane_row() + 8 r, r = 0 .. 3.
template <int kTiles>
struct Accumulator {
    float value[2][kTiles][4] = {};

    __device__ float& operator()(int r, int t, int i) { return value[r / 2][t][r % 2 * 2 + i]; }
    __device__ float operator()(int r, int t, int i) const { return value[r / 2][t][r % 2 * 2 + i]; }
};

__device__ inline int lane_row() {
    return threadIdx.x % 32 / 4;
}
__device__ inline int lane_column() {
    return threadIdx.x % 4 * 2;
}

// tanh(factor / (2 log2 e) x), to 5e-7: 1 - 2 / (2^(factor x) + 1).
__device__ inline float tanh_approximate(float factor, float x) {
    return fmaf(-2.0f, reciprocal_approximate(exp2_approximate(factor * x) + 1.0f), 1.0f);
}

// With a soft cap c, S = c tanh(scale q.k / c): what is kept of a score then is the tanh, of which S and its slope,
// 1 - tanh^2, follow. With a c of 50 its error is 2e-5 of S and, relatively, of P.
template <bool kCapped, int kTiles>
__device__ inline void cap_scores(Accumulator<kTiles>& scores, const AttentionShape& shape) {
    if constexpr (kCapped) {
        // Not kept from tile to tile: no register is left.
        const float factor = 2 * kLog2e * anew(shape.scale) * reciprocal_approximate(anew(shape.soft_cap));
#pragma unroll
        for (int r = 0; r < 4; r++)
#pragma unroll
            for (int t = 0; t < kTiles; t++)
#pragma unroll
                for (int i = 0; i < 2; i++) scores(r, t, i) = tanh_approximate(factor, scores(r, t, i));
    }
}

// What the kept scores are multiplied by to become exponents of 2.
template <bool kCapped>
__device__ inline float exponent_of_score(const AttentionShape& shape) {
    return (kCapped ? anew(shape.soft_cap) : shape.scale) * kLog2e;
}

// dS/d(scale q.k) of a kept score.
template <bool kCapped>
__device__ inline float slope_of_score(float score) {
    return kCapped ? fmaf(-score, score, 1.0f) : 1.0f;
}

// What the mask makes of a score where P is multiplied by that slope, which then has to stay finite: P = 0 times it is
// 0.
template <bool kCapped>
constexpr float kHidden = kCapped ? -1e18f : -INFINITY;

// Scores stay where 0 <= column - row - first < diagonals, and become `hidden` elsewhere. The row is the warp's.
template <int kTiles>
__device__ inline void mask(Accumulator<kTiles>& scores, int first, int diagonals, float hidden = -INFINITY) {
    const int of_lane = lane_column() - lane_row() - first;
#pragma unroll
    for (int r = 0; r < 4; r++) {
#pragma unroll
        for (int t = 0; t < kTiles; t++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                // Unsigned, below zero is beyond `diagonals`, too.
                if (static_cast<unsigned>(of_lane + 8 * (t - r) + i) >= static_cast<unsigned>(diagonals))
                    scores(r, t, i) = hidden;
            }
        }
    }
}

// c += (rows a_row .. a_row + 31 of a) b^T
template <int kTiles, class T, int kHeadDim>
__device__ inline void multiply_nt(Accumulator<kTiles>& c, HeadTile<T, kHeadDim> a, int a_row,
                                   HeadTile<T, kHeadDim> b) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; k++) {
        uint32_t a_registers[2][4], b_registers[4];
#pragma unroll
        for (int m = 0; m < 2; m++) ldmatrix_x4(a_registers[m], a.chunk(a_row + 16 * m + lane % 16, 2 * k, lane / 16));
#pragma unroll
        for (int t = 0; t < kTiles; t += 2) {
            ldmatrix_x4(b_registers, b.chunk(8 * t + lane / 16 * 8 + lane % 8, 2 * k, lane / 8 % 2));
#pragma unroll
            for (int m = 0; m < 2; m++) {
                mma_m16n8k16<T>(c.value[m][t], a_registers[m], b_registers[0], b_registers[1]);
                mma_m16n8k16<T>(c.value[m][t + 1], a_registers[m], b_registers[2], b_registers[3]);
            }
        }
    }
}

// An accumulator rounded to T, in half the registers: two of its tiles are an A tile of the mma.
template <int kTiles>
struct Operand {
    uint32_t value[2][kTiles / 2][4];
};

template <class T, int kTiles>
__device__ inline Operand<kTiles> rounded(const Accumulator<kTiles>& c) {
    Operand<kTiles> a;
#pragma unroll
    for (int m = 0; m < 2; m++) {
#pragma unroll
        for (int t = 0; t < kTiles; t++) {
#pragma unroll
            for (int r = 0; r < 2; r++)
                a.value[m][t / 2][t % 2 * 2 + r] = pack<T>(c.value[m][t][2 * r], c.value[m][t][2 * r + 1]);
        }
    }
    return a;
}

// c += a b
template <int kTiles, class T, int kHeadDim>
__device__ inline void multiply_nn(Accumulator<kHeadDim / 8>& c, const Operand<kTiles>& a, HeadTile<T, kHeadDim> b) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < kTiles / 2; k++) {
#pragma unroll
        for (int t = 0; t < kHeadDim / 8; t += 2) {
            uint32_t b_registers[4];
            ldmatrix_x4_trans(b_registers, b.chunk(16 * k + lane % 16, t, lane / 16));
#pragma unroll
            for (int m = 0; m < 2; m++) {
                mma_m16n8k16<T>(c.value[m][t], a.value[m][k], b_registers[0], b_registers[1]);
                mma_m16n8k16<T>(c.value[m][t + 1], a.value[m][k], b_registers[2], b_registers[3]);
            }
        }
    }
}

// Rows of a head from first_row on = factor c, with a factor for each of the lane's rows.
template <class T, int kTiles>
__device__ inline void store_rows(const Matrix<T>& head, int first_row, const Accumulator<kTiles>& c,
                                  const float (&factor)[4]) {
    const int lane = anew(threadIdx.x) % 32;
#pragma unroll
    for (int r = 0; r < 4; r++) {
        const int row = first_row + lane / 4 + 8 * r;
        if (row >= head.rows) continue;
        uint32_t* const to = reinterpret_cast<uint32_t*>(head.row(row) + lane % 4 * 2);
#pragma unroll
        for (int t = 0; t < kTiles; t++) to[4 * t] = pack<T>(factor[r] * c(r, t, 0), factor[r] * c(r, t, 1));
    }
}

// Over the four lanes that share a row of an accumulator.
__device__ inline float quad_sum(float x) {
    x += __shfl_xor_sync(kFullMask, x, 1);
    return x + __shfl_xor_sync(kFullMask, x, 2);
}
__device__ inline float quad_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(kFullMask, x, 1));
    return fmaxf(x, __shfl_xor_sync(kFullMask, x, 2));
}

}  // namespace cuda
