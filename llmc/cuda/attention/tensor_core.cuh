// The attention kernels for 16-bit T and head_dim 64, 80, 96, 128: FlashAttention-2 on the warp-wide mma of sm_75 and
// up.
//
// A block owns a tile of rows (queries; keys in the kernel of dk and dv) of one head and walks along the other side of
// the band in tiles. A warp owns 32 of the rows in everything the block computes, so that scores and sums never leave
// its registers and two kinds of product (tiles.cuh) suffice:
//
//   multiply_nt   both from shared memory     Q K^T, dO V^T, and both transposed
//   multiply_nn   the left from registers     P V, dS K, P^T dO, dS^T Q
//
// Tiles arrive by cp.async while the tile before is in use. A row past the end of its sequence is loaded as zeros, with
// lse and delta zero, and adds nothing to any sum of an existing row. A warp skips the tiles that none of its rows
// sees, and masks only where some of its pairs are outside the band.
#pragma once

#include <cfloat>

#include "llmc/core/integers.h"
#include "llmc/cuda/attention/band.cuh"
#include "llmc/cuda/attention/tiles.cuh"
#include "llmc/cuda/runtime/launch.cuh"

namespace cuda {

// Forward. The block owns out and lse of 128 queries of a head. Shared memory: their q, a tile of k, a tile of v. The
// next k arrives during P V, the next v during Q K^T and softmax.
constexpr int kForwardThreads = 128;

template <class T, int kHeadDim>
struct AttentionForwardTiles {
    // With head_dim 128 the registers hold no more than 32 if copies pass through them, too. (The host allots shared
    // memory for 64.)
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
    static constexpr int kKeys = kHeadDim == 128 ? 32 : 64;
#else
    static constexpr int kKeys = 64;
#endif
    static constexpr size_t kSharedBytes = (kForwardThreads + 2 * kKeys) * kHeadDim * sizeof(T);
};

// (2: two blocks a multiprocessor, which is what 255 registers a thread allow.)
template <class T, int kHeadDim, bool kCapped>
__global__ void __launch_bounds__(kForwardThreads, 2)
    attention_forward_tensor_core(Matrix<T> out, Matrix<float> lse, Matrix<const T> qkv, const int32_t* cu_seqlens,
                                  AttentionShape shape) {
    constexpr int kKeys = AttentionForwardTiles<T, kHeadDim>::kKeys, kQueries = kForwardThreads;
    const PackedSequence sequence(cu_seqlens, blockIdx.z);
    // Late queries see the most keys and come first.
    const int first_query = (gridDim.y - 1 - blockIdx.y) * kQueries;
    if (first_query >= sequence.length) return;
    const AttentionBand band{shape.window, sequence.length};
    const int head = blockIdx.x, warp_row = threadIdx.x / 32 * kWarpRows, warp_query = first_query + warp_row;
    const AttentionHead<const T> in(qkv, sequence, shape, head);

    const HeadTile<T, kHeadDim> q_tile{shared_memory<T>()};
    const HeadTile<T, kHeadDim> k_tile{q_tile.after(kQueries)};
    const HeadTile<T, kHeadDim> v_tile{k_tile.after(kKeys)};

    // exp(scale s - scale max) = 2^(exponent_scale s - offset). offset follows the largest exponent seen, but only once
    // that has grown by more than kSlack: sums and row_sums may both be up to 2^8 too large, and need no rescaling in
    // most steps. row_sums covers this lane's columns only, until the end. A row that has seen no key yet subtracts the
    // least number there is: -inf - -inf would be NaN.
    constexpr float kSlack = 8;
    const float exponent_scale = exponent_of_score<kCapped>(shape);
    Accumulator<kHeadDim / 8> sum;
    float offset[4] = {-FLT_MAX, -FLT_MAX, -FLT_MAX, -FLT_MAX}, row_sums[4] = {};

    const int end = band.end_key(first_query, kQueries);
    int first_key = band.first_key(first_query) / kKeys * kKeys;
    q_tile.load(in.q, first_query, kQueries);
    k_tile.load(in.k, first_key, kKeys);
    cp_async_commit();
    for (; first_key < end; first_key += kKeys) {
        cp_async_wait<0>();
        __syncthreads();  // q and k are there; the v before is read
        v_tile.load(in.v, first_key, kKeys);
        cp_async_commit();

        const bool seen = band.sees(warp_query, kWarpRows, first_key, kKeys);
        Operand<kKeys / 8> p_rounded;
        if (seen) {
            Accumulator<kKeys / 8> p;
            multiply_nt(p, q_tile, warp_row, k_tile);
            cap_scores<kCapped>(p, shape);
            if (!band.covers(warp_query, kWarpRows, first_key, kKeys))
                mask(p, warp_query - first_key + 1 - band.diagonals(), band.diagonals());
            float largest[4];
            bool grown = false;
#pragma unroll
            for (int r = 0; r < 4; r++) {
                largest[r] = -INFINITY;
#pragma unroll
                for (int t = 0; t < kKeys / 8; t++) largest[r] = fmaxf(largest[r], fmaxf(p(r, t, 0), p(r, t, 1)));
                largest[r] = exponent_scale * quad_max(largest[r]);
                grown |= largest[r] > offset[r] + kSlack;
            }
            if (__any_sync(kFullMask, grown)) {
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    const float new_offset = fmaxf(offset[r], largest[r]);
                    const float correction = exp2_approximate(offset[r] - new_offset);
                    offset[r] = new_offset;
                    row_sums[r] *= correction;
#pragma unroll
                    for (int t = 0; t < kHeadDim / 8; t++) {
                        sum(r, t, 0) *= correction;
                        sum(r, t, 1) *= correction;
                    }
                }
            }
#pragma unroll
            for (int r = 0; r < 4; r++) {
#pragma unroll
                for (int t = 0; t < kKeys / 8; t++) {
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        p(r, t, i) = exp2_approximate(exponent_scale * p(r, t, i) - offset[r]);
                        row_sums[r] += p(r, t, i);
                    }
                }
            }
            p_rounded = rounded<T>(p);
        }

        cp_async_wait<0>();
        __syncthreads();  // v is there; k is read
        if (first_key + kKeys < end) k_tile.load(in.k, first_key + kKeys, kKeys);
        cp_async_commit();
        if (seen) multiply_nn(sum, p_rounded, v_tile);
    }

    // Read again: in the loop every register counts.
    const PackedSequence rows(cu_seqlens, anew(blockIdx.z));
    float inverse[4];
#pragma unroll
    for (int r = 0; r < 4; r++) {
        const float total = quad_sum(row_sums[r]);
        inverse[r] = 1.0f / total;
        const int query = warp_query + lane_row() + 8 * r;
        if (query < rows.length && lane_column() == 0) lse(rows.begin + query, head) = offset[r] / kLog2e + logf(total);
    }
    store_rows(rows.head_of(out, shape, anew(blockIdx.x)), anew(warp_query), sum, inverse);
}

// Backward: a block owns a pair of tiles (q and dout of some queries, or k and v of some keys) and walks along pairs of
// tiles of the other side, of `moving` rows. `stages` of those are in shared memory: 2, one of them in flight, or 1 if
// 2 do not fit (head_dim 128 in the 64 KiB of sm_75, which has no background copies anyway). With 3, the warps of dk
// run a step behind those of dv.
struct BackwardTiles {
    int threads, moving, stages;

    // Of the tiles, if a block owns `owned` rows.
    constexpr int64_t shared_bytes(int owned, int row_bytes) const {
        return int64_t{2} * (owned + stages * moving) * row_bytes;
    }
};

constexpr int kDqKeys = 32;

constexpr int64_t dq_shared_bytes(BackwardTiles tiles, int row_bytes) {
    return tiles.shared_bytes(tiles.threads, row_bytes);
}

// With lse and delta of the moving queries, and P on its way between warps: of two steps if those are a step apart.
constexpr int64_t dkv_shared_bytes(BackwardTiles tiles, int row_bytes) {
    const int keys = tiles.threads / 2, of_p = tiles.stages == 3 ? 2 : 1;
    return tiles.shared_bytes(keys, row_bytes) +
           int64_t{of_p * keys + 2 * tiles.stages} * tiles.moving * static_cast<int64_t>(sizeof(float));
}

template <class T, int kHeadDim, int kMoving, int kMostStages>
struct MovingTiles {
    static constexpr int kElements = 2 * kMoving * kHeadDim;

    T* memory;
    int stages;

    __device__ int slot(int step) const { return kMostStages == 3 && stages == 3 ? step % 3 : step & (stages - 1); }
    // The first, or second, tile of a pair.
    __device__ HeadTile<T, kHeadDim> operator()(int step, int which) const {
        return {memory + slot(step) * kElements + which * kMoving * kHeadDim};
    }

    // Waits for a step's tiles and, with more than one stage, starts loading the next step's. start_load(step) starts
    // loading a step's pair.
    template <class StartLoad>
    __device__ void arrive(int step, int end_step, const StartLoad& start_load) const {
        if (stages == 1) {
            __syncthreads();  // the tiles before are read
            start_load(step);
        }
        cp_async_wait<0>();
        __syncthreads();  // this step's tiles are there; those of the step that leaves are read
        if (stages > 1 && step + 1 < end_step) start_load(step + 1);
    }
};

// dq[i] = scale sum_j dS[i,j] k[j], with the block's queries as rows, as many as it has threads.
template <class T, int kHeadDim, bool kCapped>
__global__ void __launch_bounds__(128, 2)
    attention_backward_dq_tensor_core(Matrix<T> dqkv, Matrix<const T> dout, Matrix<const float> lse,
                                      Matrix<const float> delta, Matrix<const T> qkv, const int32_t* cu_seqlens,
                                      AttentionShape shape, int stages) {
    constexpr int kKeys = kDqKeys;
    const int queries = blockDim.x;
    const PackedSequence sequence(cu_seqlens, blockIdx.z);
    const int first_query = (gridDim.y - 1 - blockIdx.y) * queries;
    if (first_query >= sequence.length) return;
    const AttentionBand band{shape.window, sequence.length};
    const int head = blockIdx.x, warp_row = threadIdx.x / 32 * kWarpRows, warp_query = first_query + warp_row;
    const AttentionHead<const T> in(qkv, sequence, shape, head);

    const HeadTile<T, kHeadDim> q_tile{shared_memory<T>()};
    const HeadTile<T, kHeadDim> dout_tile{q_tile.after(queries)};
    const MovingTiles<T, kHeadDim, kKeys, 2> tiles{dout_tile.after(queries), stages};

    // A step is a tile of keys, and has its number.
    const int first_step = band.first_key(first_query) / kKeys;
    const int end_step = ceil_div(band.end_key(first_query, queries), kKeys);
    const auto start_load = [&](int step) {
        tiles(step, 0).load(in.k, step * kKeys, kKeys);
        tiles(step, 1).load(in.v, step * kKeys, kKeys);
        cp_async_commit();
    };

    q_tile.load(in.q, first_query, queries);
    dout_tile.load(sequence.head_of(dout, shape, head), first_query, queries);
    if (stages == 2) start_load(first_step);

    float row_lse[4], row_delta[4];  // lse in powers of two
#pragma unroll
    for (int r = 0; r < 4; r++) {
        const int query = warp_query + lane_row() + 8 * r;
        const bool present = query < sequence.length;
        row_lse[r] = present ? kLog2e * lse(sequence.begin + query, head) : 0.0f;
        row_delta[r] = present ? delta(sequence.begin + query, head) : 0.0f;
    }

    Accumulator<kHeadDim / 8> dq;
    for (int step = first_step; step < end_step; step++) {
        tiles.arrive(step, end_step, start_load);
        const int first_key = step * kKeys;
        // Not kept from step to step: with head_dim 128 no register is left.
        const int row_of_step = kHeadDim == 128 ? first_query + anew(threadIdx.x) / 32 * kWarpRows : warp_query;
        if (!band.sees(row_of_step, kWarpRows, first_key, kKeys)) continue;
        Accumulator<kKeys / 8> p, ds;  // the scores and dP at first
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
        const int row_of_tile = warp_row;
#else  // with a cap no register is left to keep warp_row either
        const int row_of_tile = kCapped ? row_of_step - first_query : warp_row;
#endif
        multiply_nt(p, q_tile, row_of_tile, tiles(step, 0));
        cap_scores<kCapped>(p, shape);
        multiply_nt(ds, dout_tile, row_of_tile, tiles(step, 1));
        if (!band.covers(row_of_step, kWarpRows, first_key, kKeys))
            mask(p, row_of_step - first_key + 1 - band.diagonals(), band.diagonals(), kHidden<kCapped>);
        const float exponent_scale = exponent_of_score<kCapped>(shape);
#pragma unroll
        for (int r = 0; r < 4; r++) {
#pragma unroll
            for (int t = 0; t < kKeys / 8; t++) {
#pragma unroll
                for (int i = 0; i < 2; i++)
                    ds(r, t, i) = exp2_approximate(exponent_scale * p(r, t, i) - row_lse[r]) *
                                  (ds(r, t, i) - row_delta[r]) * slope_of_score<kCapped>(p(r, t, i));
            }
        }
        multiply_nn(dq, rounded<T>(ds), tiles(step, 0));
    }
    // Read again, as in the forward.
    const PackedSequence rows(cu_seqlens, blockIdx.z);
    store_rows(rows.head_of(dqkv, shape, anew(blockIdx.x)), anew(warp_query), dq,
               {shape.scale, shape.scale, shape.scale, shape.scale});
}

// dk[j] = scale sum_i dS[i,j] q[i] and dv[j] = sum_i P[i,j] dout[i] over the queries of all heads of the group. The
// block's keys are the rows, so a warp computes transposes. Registers hold the sums of only one of the two, so a pair
// of warps shares 32 keys: a warp of the first half of the block has S^T, P^T and dv, its partner in the second half
// dP^T, dS^T and dk. P^T, with a soft cap times its slope, passes from one to the other through shared memory: within a
// step, which makes the partner wait, or, if shared memory has room for three stages, to a partner that runs a step
// behind and multiplies meanwhile. lse, which the first needs, and delta, which the second needs, belong to the columns
// and arrive with q and dout.
template <class T, int kHeadDim, int kQueries, bool kCapped>
__global__ void __launch_bounds__(256, 1)
    attention_backward_dkv_tensor_core(Matrix<T> dqkv, Matrix<const T> dout, Matrix<const float> lse,
                                       Matrix<const float> delta, Matrix<const T> qkv, const int32_t* cu_seqlens,
                                       AttentionShape shape, int stages) {
    const int keys = blockDim.x / 2;
    const PackedSequence sequence(cu_seqlens, blockIdx.z);
    const int first_key = blockIdx.y * keys;
    if (first_key >= sequence.length) return;
    const AttentionBand band{shape.window, sequence.length};
    const int kv_head = blockIdx.x, group = shape.group();
    const AttentionHead<const T> first_head(qkv, sequence, shape, kv_head * group);
    const int which = static_cast<int>(threadIdx.x) >= keys;  // 0: P and dv, 1: dS and dk
    const int pair_thread = threadIdx.x - which * keys;
    const int warp_row = pair_thread / 32 * kWarpRows, warp_key = first_key + warp_row;

    const HeadTile<T, kHeadDim> k_tile{shared_memory<T>()};
    const HeadTile<T, kHeadDim> v_tile{k_tile.after(keys)};
    const HeadTile<T, kHeadDim> owned{k_tile.after(which * keys)};
    const MovingTiles<T, kHeadDim, kQueries, 3> tiles{v_tile.after(keys), stages};
    float* const moving_statistics = reinterpret_cast<float*>(tiles.memory + stages * tiles.kElements);
    // Four of a lane's elements at a time; those of the next lane follow.
    float4* const p_of_pair = reinterpret_cast<float4*>(moving_statistics + stages * 2 * kQueries) +
                              warp_row * kQueries / 4 + pair_thread % 32;

    // A step is a tile of queries of one head; first_key is a multiple of kQueries.
    const int end_query = band.end_query(first_key, keys);
    const int steps = group * ceil_div(end_query - first_key, kQueries);
    int head_to_load = kv_head * group, query_to_load = first_key;
    const auto start_load = [&](int step) {
        tiles(step, 0).load(sequence.head_of(qkv, shape, head_to_load), query_to_load, kQueries);
        tiles(step, 1).load(sequence.head_of(dout, shape, head_to_load), query_to_load, kQueries);
        if (pair_thread < kQueries) {
            const int query = query_to_load + pair_thread;
            const int64_t row = sequence.begin + query;
            cp_async_4(moving_statistics + (tiles.slot(step) * 2 + which) * kQueries + pair_thread,
                       (which == 0 ? lse.row(row) : delta.row(row)) + head_to_load, query < sequence.length);
        }
        cp_async_commit();
        query_to_load += kQueries;
        if (query_to_load >= end_query) {
            query_to_load = first_key;
            head_to_load++;
        }
    };

    k_tile.load(first_head.k, first_key, keys);
    v_tile.load(first_head.v, first_key, keys);
    if (stages > 1) start_load(0);

    const float exponent_scale = exponent_of_score<kCapped>(shape);
    Accumulator<kHeadDim / 8> gradient;  // dv or dk
    const bool apart = stages == 3;
    for (int round = 0, first_query = first_key; round < steps + apart; round++) {
        tiles.arrive(round, steps, start_load);  // and P of the round before is there
        const int step = apart ? round - which : round;
        if (step < 0) continue;
        float4* const p_of_step = p_of_pair + (apart ? step % 2 * keys * kQueries / 4 : 0);
        const float* const statistics = moving_statistics + (tiles.slot(step) * 2 + which) * kQueries;
        const bool seen = step < steps && band.sees(first_query, kQueries, warp_key, kWarpRows);
        Accumulator<kQueries / 8> p;  // S, then P; dP, then dS
        if (seen) {
            multiply_nt(p, owned, warp_row, tiles(step, which));
            if (which == 0) {
                cap_scores<kCapped>(p, shape);
                if (!band.covers(first_query, kQueries, warp_key, kWarpRows))
                    mask(p, warp_key - first_query, band.diagonals(), kHidden<kCapped>);
#pragma unroll
                for (int t = 0; t < kQueries / 8; t++) {
                    const float2 column = *reinterpret_cast<const float2*>(statistics + 8 * t + lane_column());
                    const float offset[2] = {kLog2e * column.x, kLog2e * column.y};
                    Accumulator<1> passed;  // with a soft cap: P times its slope
#pragma unroll
                    for (int r = 0; r < 4; r++)
#pragma unroll
                        for (int i = 0; i < 2; i++) {
                            if constexpr (kCapped) passed(r, 0, i) = slope_of_score<true>(p(r, t, i));
                            p(r, t, i) = exp2_approximate(exponent_scale * p(r, t, i) - offset[i]);
                            if constexpr (kCapped) passed(r, 0, i) *= p(r, t, i);
                        }
#pragma unroll
                    for (int m = 0; m < 2; m++) {
                        const float(&of_pair)[4] = kCapped ? passed.value[m][0] : p.value[m][t];
                        p_of_step[(2 * t + m) * 32] = make_float4(of_pair[0], of_pair[1], of_pair[2], of_pair[3]);
                    }
                }
            }
        }
        if (!apart) __syncthreads();  // P is there
        if (seen) {
            if (which == 1) {
#pragma unroll
                for (int t = 0; t < kQueries / 8; t++) {
                    const float2 column = *reinterpret_cast<const float2*>(statistics + 8 * t + lane_column());
#pragma unroll
                    for (int m = 0; m < 2; m++) {
                        const float4 of_pair = p_of_step[(2 * t + m) * 32];
                        float(&ds)[4] = p.value[m][t];
                        ds[0] = of_pair.x * (ds[0] - column.x);
                        ds[1] = of_pair.y * (ds[1] - column.y);
                        ds[2] = of_pair.z * (ds[2] - column.x);
                        ds[3] = of_pair.w * (ds[3] - column.y);
                    }
                }
            }
            multiply_nn(gradient, rounded<T>(p), tiles(step, 1 - which));
        }
        first_query += kQueries;
        if (first_query >= end_query) first_query = first_key;
    }
    // Read again, as in the forward.
    const PackedSequence rows(cu_seqlens, anew(blockIdx.z));
    const int column_of_head = shape.n_heads + anew(blockIdx.x) + (which == 0 ? shape.n_kv_heads : 0);
    const float factor = which == 0 ? 1.0f : shape.scale;
    store_rows(rows.head_of(dqkv, shape, column_of_head), anew(warp_key), gradient, {factor, factor, factor, factor});
}

}  // namespace cuda
