// The attention kernels for any T and any head_dim up to 256, in fp32 arithmetic: for float tensors and the head sizes
// of small models. tensor_core.cuh has the same three kernels on tensor cores.
//
// A block owns 8 rows (queries; keys in the kernel of dk and dv) of one head, one a warp, and walks along the other
// side of the band in tiles of 32, held in shared memory as floats. For scores a lane is one of the 32; for sums a lane
// is a channel, and those at 32, 64, ... from it:
//
//   lane_dot       row . tile[lane]                      S, dP
//   add_weighted   sum[channel] += w[j] tile[j, channel]  over the 32 lanes' w     P V, dS K, P^T dO, dS^T Q
#pragma once

#include "llmc/cuda/attention/band.cuh"
#include "llmc/cuda/kernel/numeric.cuh"
#include "llmc/cuda/kernel/soft_cap.cuh"
#include "llmc/cuda/runtime/launch.cuh"

namespace cuda {

constexpr int kGenericRows = 8;
constexpr int kGenericThreads = kGenericRows * kWarpSize;
constexpr int kMaxGenericHeadDim = 256;

using ChannelSums = float[kMaxGenericHeadDim / kWarpSize];

// Rows of one head. A row is one float longer than head_dim, so that for an even head_dim the same channel of 32 rows
// lies in 32 banks.
struct FloatTile {
    float* data;
    int head_dim;

    __device__ float* row(int i) const { return data + i * (head_dim + 1); }
    __device__ FloatTile after(int rows) const { return {row(rows), head_dim}; }

    // By the whole block; missing rows become zero.
    template <class T>
    __device__ void load(const Matrix<const T>& head, int begin, int rows) const {
        for (int i = threadIdx.x; i < rows * head_dim; i += kGenericThreads) {
            const int r = i / head_dim, d = i % head_dim;
            row(r)[d] = begin + r < head.rows ? to_float(head(begin + r, d)) : 0.0f;
        }
    }
};

// Of `own_tiles` tiles of the block's rows and two of 32.
inline size_t generic_shared_bytes(int head_dim, int own_tiles) {
    return (own_tiles * kGenericRows + 2 * kWarpSize) * (head_dim + 1) * sizeof(float);
}

__device__ inline float lane_dot(const float* row, const FloatTile& tile) {
    const float* lane_row = tile.row(threadIdx.x % kWarpSize);
    float sum = 0;
    for (int d = 0; d < tile.head_dim; d++) sum += row[d] * lane_row[d];
    return sum;
}

// S, of q . k.
template <bool kCapped>
__device__ float generic_score(const AttentionShape& shape, float dot) {
    const float score = shape.scale * dot;
    if constexpr (kCapped) return SoftCap(shape.soft_cap)(score);
    return score;
}

// The warp's 32 weights pass through its row of `weights`, which no other warp touches.
using WarpWeights = float[kGenericRows][kWarpSize];

__device__ inline void add_weighted(ChannelSums& sums, float lane_weight, WarpWeights& weights, const FloatTile& tile) {
    const int lane = threadIdx.x % kWarpSize;
    float* row_weights = weights[threadIdx.x / kWarpSize];
    __syncwarp();  // what it held before has been read
    row_weights[lane] = lane_weight;
    __syncwarp();
    for (int j = 0; j < kWarpSize; j++) {
        const float weight = row_weights[j];
        const float* row = tile.row(j);
#pragma unroll
        for (int n = 0; n < kMaxGenericHeadDim / kWarpSize; n++) {
            const int channel = n * kWarpSize + lane;
            if (channel < tile.head_dim) sums[n] += weight * row[channel];
        }
    }
}

// row[channel] = factor sums[channel]
template <class T>
__device__ void store_channels(T* row, const ChannelSums& sums, float factor, int head_dim) {
#pragma unroll
    for (int n = 0; n < kMaxGenericHeadDim / kWarpSize; n++) {
        const int channel = n * kWarpSize + threadIdx.x % kWarpSize;
        if (channel < head_dim) row[channel] = from_float<T>(factor * sums[n]);
    }
}

template <class T, bool kCapped>
__global__ void __launch_bounds__(kGenericThreads)
    attention_forward_generic(Matrix<T> out, Matrix<float> lse, Matrix<const T> qkv, const int32_t* cu_seqlens,
                              AttentionShape shape) {
    const PackedSequence sequence(cu_seqlens, blockIdx.z);
    const int first_query = (gridDim.y - 1 - blockIdx.y) * kGenericRows;
    if (first_query >= sequence.length) return;
    const AttentionBand band{shape.window, sequence.length};
    const int head = blockIdx.x, warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
    const int query = first_query + warp;
    const AttentionHead<const T> in(qkv, sequence, shape, head);

    __shared__ WarpWeights weights;
    const FloatTile q_rows{shared_memory<float>(), shape.head_dim};
    const FloatTile k_tile = q_rows.after(kGenericRows), v_tile = k_tile.after(kWarpSize);
    q_rows.load(in.q, first_query, kGenericRows);

    ChannelSums sums = {};
    float largest = -INFINITY, total = 0;
    const int end = band.end_key(first_query, kGenericRows);
    for (int first_key = band.first_key(first_query); first_key < end; first_key += kWarpSize) {
        k_tile.load(in.k, first_key, kWarpSize);
        v_tile.load(in.v, first_key, kWarpSize);
        __syncthreads();
        const float score = band.visible(query, first_key + lane)
                                ? generic_score<kCapped>(shape, lane_dot(q_rows.row(warp), k_tile))
                                : -INFINITY;
        const float new_largest = fmaxf(largest, warp_max(score));
        // Finite from the first tile on: its 32 keys begin with the first that the first of the 8 queries sees.
        const float correction = expf(largest - new_largest);
        const float p = expf(score - new_largest);
        largest = new_largest;
        total = total * correction + warp_sum(p);
        for (float& sum : sums) sum *= correction;
        add_weighted(sums, p, weights, v_tile);
        __syncthreads();  // the tiles are read
    }
    if (query >= sequence.length) return;
    store_channels(sequence.head_of(out, shape, head).row(query), sums, 1.0f / total, shape.head_dim);
    if (lane == 0) lse(sequence.begin + query, head) = largest + logf(total);
}

template <class T, bool kCapped>
__global__ void __launch_bounds__(kGenericThreads)
    attention_backward_dq_generic(Matrix<T> dqkv, Matrix<const T> dout, Matrix<const float> lse,
                                  Matrix<const float> delta, Matrix<const T> qkv, const int32_t* cu_seqlens,
                                  AttentionShape shape) {
    const PackedSequence sequence(cu_seqlens, blockIdx.z);
    const int first_query = (gridDim.y - 1 - blockIdx.y) * kGenericRows;
    if (first_query >= sequence.length) return;
    const AttentionBand band{shape.window, sequence.length};
    const int head = blockIdx.x, warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
    const int query = first_query + warp;
    const AttentionHead<const T> in(qkv, sequence, shape, head);

    __shared__ WarpWeights weights;
    const FloatTile q_rows{shared_memory<float>(), shape.head_dim};
    const FloatTile dout_rows = q_rows.after(kGenericRows);
    const FloatTile k_tile = dout_rows.after(kGenericRows), v_tile = k_tile.after(kWarpSize);
    q_rows.load(in.q, first_query, kGenericRows);
    dout_rows.load(sequence.head_of(dout, shape, head), first_query, kGenericRows);

    const bool present = query < sequence.length;
    const float row_lse = present ? lse(sequence.begin + query, head) : 0.0f;
    const float row_delta = present ? delta(sequence.begin + query, head) : 0.0f;
    ChannelSums dq = {};
    const int end = band.end_key(first_query, kGenericRows);
    for (int first_key = band.first_key(first_query); first_key < end; first_key += kWarpSize) {
        k_tile.load(in.k, first_key, kWarpSize);
        v_tile.load(in.v, first_key, kWarpSize);
        __syncthreads();
        float ds = 0;
        if (band.visible(query, first_key + lane)) {
            const float score = generic_score<kCapped>(shape, lane_dot(q_rows.row(warp), k_tile));
            const float p = expf(score - row_lse);
            ds = p * (lane_dot(dout_rows.row(warp), v_tile) - row_delta);
            if constexpr (kCapped) ds *= SoftCap(shape.soft_cap).slope(score);
        }
        add_weighted(dq, ds, weights, k_tile);
        __syncthreads();  // the tiles are read
    }
    if (present)
        store_channels(AttentionHead<T>(dqkv, sequence, shape, head).q.row(query), dq, shape.scale, shape.head_dim);
}

template <class T, bool kCapped>
__global__ void __launch_bounds__(kGenericThreads)
    attention_backward_dkv_generic(Matrix<T> dqkv, Matrix<const T> dout, Matrix<const float> lse,
                                   Matrix<const float> delta, Matrix<const T> qkv, const int32_t* cu_seqlens,
                                   AttentionShape shape) {
    const PackedSequence sequence(cu_seqlens, blockIdx.z);
    const int first_key = blockIdx.y * kGenericRows;
    if (first_key >= sequence.length) return;
    const AttentionBand band{shape.window, sequence.length};
    const int kv_head = blockIdx.x, warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
    const int key = first_key + warp, first_head = kv_head * shape.group();
    const AttentionHead<const T> in(qkv, sequence, shape, first_head);

    __shared__ WarpWeights weights;
    const FloatTile k_rows{shared_memory<float>(), shape.head_dim};
    const FloatTile v_rows = k_rows.after(kGenericRows);
    const FloatTile q_tile = v_rows.after(kGenericRows), dout_tile = q_tile.after(kWarpSize);
    k_rows.load(in.k, first_key, kGenericRows);
    v_rows.load(in.v, first_key, kGenericRows);

    ChannelSums dk = {}, dv = {};
    const int end = band.end_query(first_key, kGenericRows);
    for (int head = first_head; head < first_head + shape.group(); head++) {
        for (int first_query = first_key; first_query < end; first_query += kWarpSize) {
            q_tile.load(sequence.head_of(qkv, shape, head), first_query, kWarpSize);
            dout_tile.load(sequence.head_of(dout, shape, head), first_query, kWarpSize);
            __syncthreads();
            const int query = first_query + lane;
            float p = 0, ds = 0;
            if (query < sequence.length && band.visible(query, key)) {
                const int64_t row = sequence.begin + query;
                const float score = generic_score<kCapped>(shape, lane_dot(k_rows.row(warp), q_tile));
                p = expf(score - lse(row, head));
                ds = p * (lane_dot(v_rows.row(warp), dout_tile) - delta(row, head));
                if constexpr (kCapped) ds *= SoftCap(shape.soft_cap).slope(score);
            }
            add_weighted(dv, p, weights, dout_tile);
            add_weighted(dk, ds, weights, q_tile);
            __syncthreads();  // the tiles are read
        }
    }
    if (key >= sequence.length) return;
    const AttentionHead<T> grad(dqkv, sequence, shape, first_head);
    store_channels(grad.k.row(key), dk, shape.scale, shape.head_dim);
    store_channels(grad.v.row(key), dv, 1.0f, shape.head_dim);
}

}  // namespace cuda
