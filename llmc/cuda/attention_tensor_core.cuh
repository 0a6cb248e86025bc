// The attention kernels for 16-bit T and head_dim 64, 80, 96, 128: FlashAttention-2 on the warp-wide mma of sm_75 and
// up.
//
// A block of four warps owns a tile of 64 rows (queries; keys in the kernel of dk and dv) of one head and walks along
// the other side of the band in tiles. Warp w owns rows 16w .. 16w + 15 of everything the block computes, so that
// scores, probabilities and sums never leave its registers, and two kinds of product are all there is:
//
//   multiply_nt   C[16, n] += A[16, head_dim] B[n, head_dim]^T    both from shared memory: Q K^T, dO V^T, and
//   transposed multiply_nn   C[16, head_dim] += P[16, n] B[n, head_dim]      P from registers:        P V, dS K, P^T
//   dO, dS^T Q
//
// Tiles arrive by cp.async while the tile before is worked on. A row past the end of its sequence is loaded as zeros,
// with lse and delta zero, and adds nothing to any sum of a row that exists.
#pragma once

#include "llmc/cuda/attention_band.cuh"
#include "llmc/cuda/launch.cuh"
#include "llmc/cuda/mma.cuh"
#include "llmc/cuda/shared_tile.cuh"

namespace cuda {

constexpr int kTileThreads = 128;
constexpr int kTileRows = 64;

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

// Rows of one head in shared memory.
template <class T, int kHeadDim>
struct HeadTile : SharedTile<T, kHeadDim> {
    using SharedTile<T, kHeadDim>::chunk, SharedTile<T, kHeadDim>::kChunks;

    // Starts to load rows begin .. begin + kRows - 1 of a head.
    template <int kRows>
    __device__ void load(const Matrix<const T>& head, int begin) const {
        static_assert(kRows * kChunks % kTileThreads == 0);
        // Not unrolled whole, which would keep the address of every copy in registers for the next tile.
#pragma unroll 2
        for (int n = 0; n < kRows * kChunks / kTileThreads; n++) {
            const int i = n * kTileThreads + threadIdx.x;
            const int row = i / kChunks, index = i % kChunks;
            cp_async_16(chunk(row, index), head.row(begin + row) + index * 8, begin + row < head.rows);
        }
    }
};

// An mma accumulator, [16 rows of the warp, 8 kTiles columns]: a lane has columns 8 t + 2 (lane % 4) + {0, 1} of rows
// lane / 4 (elements 0, 1 of tile t) and lane / 4 + 8 (2, 3).
template <int kTiles>
struct Accumulator {
    float value[kTiles][4] = {};
};

__device__ inline int warp_row() {
    return threadIdx.x / 32 * 16;
}
__device__ inline int lane_row() {
    return threadIdx.x % 32 / 4;
}
__device__ inline int lane_column() {
    return threadIdx.x % 4 * 2;
}

// c += (the warp's rows of a) b^T
template <int kTiles, class T, int kHeadDim>
__device__ inline void multiply_nt(Accumulator<kTiles>& c, HeadTile<T, kHeadDim> a, HeadTile<T, kHeadDim> b) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; k++) {
        uint32_t a_registers[4], b_registers[4];
        ldmatrix_x4(a_registers, a.chunk(warp_row() + lane % 16, 2 * k + lane / 16));
#pragma unroll
        for (int t = 0; t < kTiles; t += 2) {
            ldmatrix_x4(b_registers, b.chunk(8 * t + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
            mma_m16n8k16<T>(c.value[t], a_registers, b_registers[0], b_registers[1]);
            mma_m16n8k16<T>(c.value[t + 1], a_registers, b_registers[2], b_registers[3]);
        }
    }
}

// c += p b, with p rounded to T
template <int kTiles, class T, int kHeadDim>
__device__ inline void multiply_nn(Accumulator<kHeadDim / 8>& c, const Accumulator<kTiles>& p,
                                   HeadTile<T, kHeadDim> b) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < kTiles; k += 2) {
        const uint32_t a_registers[4] = {pack<T>(p.value[k][0], p.value[k][1]), pack<T>(p.value[k][2], p.value[k][3]),
                                         pack<T>(p.value[k + 1][0], p.value[k + 1][1]),
                                         pack<T>(p.value[k + 1][2], p.value[k + 1][3])};
#pragma unroll
        for (int t = 0; t < kHeadDim / 8; t += 2) {
            uint32_t b_registers[4];
            ldmatrix_x4_trans(b_registers, b.chunk(8 * k + lane % 16, t + lane / 16));
            mma_m16n8k16<T>(c.value[t], a_registers, b_registers[0], b_registers[1]);
            mma_m16n8k16<T>(c.value[t + 1], a_registers, b_registers[2], b_registers[3]);
        }
    }
}

// The block's rows of a head, from first_row on: = factor[0 or 1, for the lane's row or that + 8] c.
template <class T, int kTiles>
__device__ inline void store_rows(const Matrix<T>& head, int first_row, const Accumulator<kTiles>& c,
                                  const float (&factor)[2]) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = first_row + warp_row() + lane_row() + 8 * half;
        if (row >= head.rows) continue;
#pragma unroll
        for (int t = 0; t < kTiles; t++) {
            *reinterpret_cast<uint32_t*>(head.row(row) + 8 * t + lane_column()) =
                pack<T>(factor[half] * c.value[t][2 * half], factor[half] * c.value[t][2 * half + 1]);
        }
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

// Forward. The block owns out and lse of 64 queries of a head. Shared memory: their q, a tile of k, a tile of v. The
// next k arrives during softmax and P V, the next v during Q K^T.
template <class T, int kHeadDim>
struct AttentionForwardTiles {
    static constexpr int kKeys = 64;
    static constexpr size_t kSharedBytes = (kTileRows + 2 * kKeys) * kHeadDim * sizeof(T);
};

template <class T, int kHeadDim>
__global__ void __launch_bounds__(kTileThreads)
    attention_forward_tensor_core(Matrix<T> out, Matrix<float> lse, Matrix<const T> qkv, const int32_t* cu_seqlens,
                                  AttentionShape shape) {
    constexpr int kKeys = AttentionForwardTiles<T, kHeadDim>::kKeys;
    const PackedSequence sequence(cu_seqlens, blockIdx.z);
    // Late queries see the most keys and come first.
    const int first_query = (gridDim.x - 1 - blockIdx.x) * kTileRows;
    if (first_query >= sequence.length) return;
    const AttentionBand band{shape.window, sequence.length};
    const int head = blockIdx.y;
    const AttentionHead<const T> in(qkv, sequence, shape, head);

    const HeadTile<T, kHeadDim> q_tile{shared_memory<T>()};
    const HeadTile<T, kHeadDim> k_tile{q_tile.after(kTileRows)};
    const HeadTile<T, kHeadDim> v_tile{k_tile.after(kKeys)};

    // exp(scale s - scale max) = 2^(exponent_scale (s - max)). row_sums: of this lane's columns only, until the end.
    const float exponent_scale = shape.scale * kLog2e;
    Accumulator<kHeadDim / 8> sum;
    float largest[2] = {-INFINITY, -INFINITY}, row_sums[2] = {};

    const int end = band.end_key(first_query, kTileRows);
    int first_key = band.first_key(first_query) / kKeys * kKeys;
    q_tile.template load<kTileRows>(in.q, first_query);
    k_tile.template load<kKeys>(in.k, first_key);
    cp_async_commit();
    for (; first_key < end; first_key += kKeys) {
        v_tile.template load<kKeys>(in.v, first_key);
        cp_async_commit();
        cp_async_wait<1>();
        __syncthreads();  // q and k are there

        Accumulator<kKeys / 8> p;
        multiply_nt(p, q_tile, k_tile);
        __syncthreads();  // k is read
        if (first_key + kKeys < end) k_tile.template load<kKeys>(in.k, first_key + kKeys);
        cp_async_commit();

        const bool masked = !band.covers(first_query, kTileRows, first_key, kKeys);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int query = first_query + warp_row() + lane_row() + 8 * half;
            float new_largest = largest[half];
#pragma unroll
            for (int t = 0; t < kKeys / 8; t++) {
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    float& score = p.value[t][2 * half + i];
                    if (masked && !band.visible(query, first_key + 8 * t + lane_column() + i)) score = -INFINITY;
                    new_largest = fmaxf(new_largest, score);
                }
            }
            new_largest = quad_max(new_largest);
            // A row that has seen no key yet subtracts nothing: -inf - -inf would be NaN.
            const float offset = new_largest == -INFINITY ? 0.0f : exponent_scale * new_largest;
            const float correction = exp2_approximate(exponent_scale * largest[half] - offset);
            largest[half] = new_largest;
            row_sums[half] *= correction;
#pragma unroll
            for (int t = 0; t < kKeys / 8; t++) {
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    float& score = p.value[t][2 * half + i];
                    score = exp2_approximate(exponent_scale * score - offset);
                    row_sums[half] += score;
                }
            }
#pragma unroll
            for (int t = 0; t < kHeadDim / 8; t++) {
                sum.value[t][2 * half] *= correction;
                sum.value[t][2 * half + 1] *= correction;
            }
        }

        cp_async_wait<1>();
        __syncthreads();  // v is there
        multiply_nn(sum, p, v_tile);
        __syncthreads();  // v is read
    }

    float inverse[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float total = quad_sum(row_sums[half]);
        inverse[half] = 1.0f / total;
        const int query = first_query + warp_row() + lane_row() + 8 * half;
        if (query < sequence.length && lane_column() == 0)
            lse(sequence.begin + query, head) = shape.scale * largest[half] + logf(total);
    }
    store_rows(sequence.head_of(out, shape, head), first_query, sum, inverse);
}

// Backward: a block owns a pair of tiles (q and dout of 64 queries, or k and v of 64 keys) and walks along pairs of
// tiles of the other side. `stages` of those are in shared memory: 2, of which one is on its way, or 1 where 2 do not
// fit (head_dim 128 in the 64 KiB of sm_75, which has no copies in the background anyway).
template <class T, int kHeadDim>
struct AttentionBackwardTiles {
    static constexpr int kMoving = kHeadDim <= 80 ? 64 : 32;  // rows of a moving tile
    static constexpr int kOwnedElements = 2 * kTileRows * kHeadDim;
    static constexpr int kMovingElements = 2 * kMoving * kHeadDim;

    static constexpr size_t shared_bytes(int stages) {
        return (kOwnedElements + stages * kMovingElements) * sizeof(T) + stages * 2 * kMoving * sizeof(float);
    }
};

// dq[i] = scale sum_j dS[i,j] k[j], with the block's queries as rows.
template <class T, int kHeadDim>
__global__ void __launch_bounds__(kTileThreads)
    attention_backward_dq_tensor_core(Matrix<T> dqkv, Matrix<const T> dout, Matrix<const float> lse,
                                      Matrix<const float> delta, Matrix<const T> qkv, const int32_t* cu_seqlens,
                                      AttentionShape shape, int stages) {
    using Tiles = AttentionBackwardTiles<T, kHeadDim>;
    constexpr int kKeys = Tiles::kMoving;
    const PackedSequence sequence(cu_seqlens, blockIdx.z);
    const int first_query = (gridDim.x - 1 - blockIdx.x) * kTileRows;
    if (first_query >= sequence.length) return;
    const AttentionBand band{shape.window, sequence.length};
    const int head = blockIdx.y;
    const AttentionHead<const T> in(qkv, sequence, shape, head);

    const HeadTile<T, kHeadDim> q_tile{shared_memory<T>()};
    const HeadTile<T, kHeadDim> dout_tile{q_tile.after(kTileRows)};
    T* const moving = dout_tile.after(kTileRows);

    const int first_moving = band.first_key(first_query) / kKeys * kKeys;
    const int steps = (band.end_key(first_query, kTileRows) - first_moving + kKeys - 1) / kKeys;
    const auto start_load = [&](int step) {
        if (step < steps) {
            const HeadTile<T, kHeadDim> k_tile{moving + step % stages * Tiles::kMovingElements};
            const HeadTile<T, kHeadDim> v_tile{k_tile.after(kKeys)};
            k_tile.template load<kKeys>(in.k, first_moving + step * kKeys);
            v_tile.template load<kKeys>(in.v, first_moving + step * kKeys);
        }
        cp_async_commit();
    };

    q_tile.template load<kTileRows>(in.q, first_query);
    dout_tile.template load<kTileRows>(sequence.head_of(dout, shape, head), first_query);
    if (stages == 2) start_load(0);

    float row_lse[2], row_delta[2];  // lse in powers of two
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int query = first_query + warp_row() + lane_row() + 8 * half;
        const bool present = query < sequence.length;
        row_lse[half] = present ? kLog2e * lse(sequence.begin + query, head) : 0.0f;
        row_delta[half] = present ? delta(sequence.begin + query, head) : 0.0f;
    }

    const float exponent_scale = shape.scale * kLog2e;
    Accumulator<kHeadDim / 8> dq;
    for (int step = 0; step < steps; step++) {
        start_load(step + stages - 1);
        if (stages == 2)
            cp_async_wait<1>();
        else
            cp_async_wait<0>();
        __syncthreads();  // this step's tiles are there

        const HeadTile<T, kHeadDim> k_tile{moving + step % stages * Tiles::kMovingElements};
        const HeadTile<T, kHeadDim> v_tile{k_tile.after(kKeys)};
        const int first_key = first_moving + step * kKeys;
        const bool masked = !band.covers(first_query, kTileRows, first_key, kKeys);
        Accumulator<kKeys / 8> scores, ds;  // ds: dP at first
        multiply_nt(scores, q_tile, k_tile);
        multiply_nt(ds, dout_tile, v_tile);
#pragma unroll
        for (int t = 0; t < kKeys / 8; t++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int half = i / 2;
                const int query = first_query + warp_row() + lane_row() + 8 * half;
                const int key = first_key + 8 * t + lane_column() + i % 2;
                float p = exp2_approximate(exponent_scale * scores.value[t][i] - row_lse[half]);
                if (masked && !band.visible(query, key)) p = 0.0f;
                ds.value[t][i] = p * (ds.value[t][i] - row_delta[half]);
            }
        }
        multiply_nn(dq, ds, k_tile);
        __syncthreads();  // the tiles are read
    }
    store_rows(AttentionHead<T>(dqkv, sequence, shape, head).q, first_query, dq, {shape.scale, shape.scale});
}

// dk[j] = scale sum_i dS[i,j] q[i] and dv[j] = sum_i P[i,j] dout[i] over the queries of all heads of the group. The
// block's keys are the rows, so that what a warp computes is S^T, P^T, dP^T, dS^T. lse and delta belong to the columns
// and come along with q and dout.
template <class T, int kHeadDim>
__global__ void __launch_bounds__(kTileThreads)
    attention_backward_dkv_tensor_core(Matrix<T> dqkv, Matrix<const T> dout, Matrix<const float> lse,
                                       Matrix<const float> delta, Matrix<const T> qkv, const int32_t* cu_seqlens,
                                       AttentionShape shape, int stages) {
    using Tiles = AttentionBackwardTiles<T, kHeadDim>;
    constexpr int kQueries = Tiles::kMoving;
    const PackedSequence sequence(cu_seqlens, blockIdx.z);
    const int first_key = blockIdx.x * kTileRows;
    if (first_key >= sequence.length) return;
    const AttentionBand band{shape.window, sequence.length};
    const int kv_head = blockIdx.y, group = shape.group();
    const AttentionHead<const T> first_head(qkv, sequence, shape, kv_head * group);

    const HeadTile<T, kHeadDim> k_tile{shared_memory<T>()};
    const HeadTile<T, kHeadDim> v_tile{k_tile.after(kTileRows)};
    T* const moving = v_tile.after(kTileRows);
    float* const moving_statistics = reinterpret_cast<float*>(moving + stages * Tiles::kMovingElements);

    // A step is a tile of queries of one head; first_key is a multiple of kQueries.
    const int steps_per_head = (band.end_query(first_key, kTileRows) - first_key + kQueries - 1) / kQueries;
    const int steps = group * steps_per_head;
    const auto start_load = [&](int step) {
        if (step < steps) {
            const int head = kv_head * group + step / steps_per_head;
            const int first_query = first_key + step % steps_per_head * kQueries;
            const HeadTile<T, kHeadDim> q_tile{moving + step % stages * Tiles::kMovingElements};
            const HeadTile<T, kHeadDim> dout_tile{q_tile.after(kQueries)};
            q_tile.template load<kQueries>(sequence.head_of(qkv, shape, head), first_query);
            dout_tile.template load<kQueries>(sequence.head_of(dout, shape, head), first_query);
            if (threadIdx.x < kQueries) {
                float* const statistics = moving_statistics + step % stages * 2 * kQueries + threadIdx.x;
                const int query = first_query + threadIdx.x;
                const int64_t row = sequence.begin + query;
                cp_async_4(statistics, lse.row(row) + head, query < sequence.length);
                cp_async_4(statistics + kQueries, delta.row(row) + head, query < sequence.length);
            }
        }
        cp_async_commit();
    };

    k_tile.template load<kTileRows>(first_head.k, first_key);
    v_tile.template load<kTileRows>(first_head.v, first_key);
    if (stages == 2) start_load(0);

    const float exponent_scale = shape.scale * kLog2e;
    Accumulator<kHeadDim / 8> dk, dv;
    for (int step = 0; step < steps; step++) {
        start_load(step + stages - 1);
        if (stages == 2)
            cp_async_wait<1>();
        else
            cp_async_wait<0>();
        __syncthreads();  // this step's tiles are there

        const HeadTile<T, kHeadDim> q_tile{moving + step % stages * Tiles::kMovingElements};
        const HeadTile<T, kHeadDim> dout_tile{q_tile.after(kQueries)};
        const float* const statistics = moving_statistics + step % stages * 2 * kQueries;
        const int first_query = first_key + step % steps_per_head * kQueries;
        const bool masked = !band.covers(first_query, kQueries, first_key, kTileRows);
        Accumulator<kQueries / 8> p, ds;  // transposed; the scores and dP at first
        multiply_nt(p, k_tile, q_tile);
        multiply_nt(ds, v_tile, dout_tile);
#pragma unroll
        for (int t = 0; t < kQueries / 8; t++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int key = first_key + warp_row() + lane_row() + i / 2 * 8;
                const int column = 8 * t + lane_column() + i % 2;
                float& p_element = p.value[t][i];
                p_element = exp2_approximate(exponent_scale * p_element - kLog2e * statistics[column]);
                if (masked && !band.visible(first_query + column, key)) p_element = 0.0f;
                ds.value[t][i] = p_element * (ds.value[t][i] - statistics[kQueries + column]);
            }
        }
        multiply_nn(dv, p, dout_tile);
        multiply_nn(dk, ds, q_tile);
        __syncthreads();  // the tiles are read
    }
    const AttentionHead<T> grad(dqkv, sequence, shape, kv_head * group);
    store_rows(grad.k, first_key, dk, {shape.scale, shape.scale});
    store_rows(grad.v, first_key, dv, {1.0f, 1.0f});
}

}  // namespace cuda
