// Causal softmax attention of packed sequences with grouped queries and an optional sliding window, in tiles: no T x T
// matrix exists, only keys inside the band are touched.
//
//   token i of a sequence sees j in (i - window, i]        window = 0: all j <= i
//   S[i,j]   = scale q[i] . k[j]                     with soft_cap c > 0: S = c tanh(scale q[i] . k[j] / c)
//   lse[i]   = log sum_j exp S[i,j]
//   P[i,j]   = exp(S[i,j] - lse[i])
//   out[i]   = sum_j P[i,j] v[j]
//
// backward, with delta[i] = dout[i] . out[i]:
//   dP[i,j]  = dout[i] . v[j]            dS = P (dP - delta)         with soft_cap c: times 1 - (S / c)^2
//   dq[i]    = scale sum_j dS[i,j] k[j]
//   dk[j]    = scale sum_i dS[i,j] q[i]  dv[j] = sum_i P[i,j] dout[i]      summed over the heads of the group, too
//
// qkv[N, (H + 2 KV) D]: q heads, k heads, v heads of a token side by side. `out`, `lse`, `dqkv` are written (=). The
// softmax is computed online over key tiles: Milakov and Gimelshein 2018, arXiv 1805.02867; Dao 2023, FlashAttention-2,
// arXiv 2307.08691.
//
// A block owns what it writes, so that there are no atomics and results do not depend on which block comes first: out,
// lse and dq of a tile of queries of a head; dk and dv of a tile of keys of a key head, over all heads of its group.
// The backward therefore computes S and dP twice, once by query tile and once by key tile. delta is computed once,
// before both, into the workspace. 16-bit tensors of the usual head sizes take tensor_core.cuh, all others generic.cuh.
//
// cu_seqlens lies in device memory; the host sizes grids by max_sequence_length, which is at least that of the longest
// sequence.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <type_traits>

#include "llmc/core/integers.h"
#include "llmc/core/operator_options.h"
#include "llmc/core/program.h"
#include "llmc/cuda/attention/generic.cuh"
#include "llmc/cuda/attention/tensor_core.cuh"
#include "llmc/cuda/kernel/numeric.cuh"
#include "llmc/cuda/runtime/launch.cuh"

namespace cuda {

// The delta of the backward. The forward needs no workspace.
template <class T>
int64_t attention_workspace(const Device<T>& /*device*/, const AttentionShape& shape, int64_t n_tokens) {
    return n_tokens * shape.n_heads;
}

inline void require_attention_shape(const AttentionShape& shape, size_t cu_seqlens) {
    require(shape.n_kv_heads > 0 && shape.n_heads % shape.n_kv_heads == 0, shape.n_heads, " query heads cannot share ",
            shape.n_kv_heads, " key heads evenly");
    require(shape.head_dim > 0 && shape.head_dim <= kMaxGenericHeadDim, "attention on CUDA takes a head_dim of up to ",
            kMaxGenericHeadDim, ", and this model has ", shape.head_dim, "; ", program().use_cpu);
    require_soft_cap(shape.soft_cap);
    require(shape.scale > 0, "attention scores need a positive scale, and this one is ", shape.scale);
    constexpr size_t kMaxGridZ = 65535;
    require(cu_seqlens <= kMaxGridZ, "a micro-batch of ", cu_seqlens, " sequences is more than attention takes (",
            kMaxGridZ, "); lower ", program().batch_size);
}

// Whether ldmatrix and 16-byte copies can read every row of every head.
template <class T>
bool rows_are_aligned(const Matrix<T>& m) {
    return reinterpret_cast<uintptr_t>(m.data) % 16 == 0 && m.stride * sizeof(T) % 16 == 0;
}

// Calls kernels.operator()<kHeadDim, kCapped>() if there are tensor-core kernels for this head_dim; returns whether
// there are. With a soft cap there is that of Gemma 2 27B, 128; the 256 of its smaller sizes are generic.cuh's.
template <class T, class Kernels>
bool on_tensor_cores(const AttentionShape& shape, bool aligned, const Kernels& kernels) {
    if constexpr (!std::is_same_v<T, float>) {
        if (!aligned) return false;
        if (shape.soft_cap > 0) {
            if (shape.head_dim != 128) return false;
            kernels.template operator()<128, true>();
            return true;
        }
        switch (shape.head_dim) {
            case 64:
                kernels.template operator()<64, false>();
                return true;
            case 80:
                kernels.template operator()<80, false>();
                return true;
            case 96:
                kernels.template operator()<96, false>();
                return true;
            case 128:
                kernels.template operator()<128, false>();
                return true;
        }
    }
    return false;
}

// Of the two instances of a kernel, without and with a soft cap, the one for this shape.
template <class Kernel>
Kernel* with_cap(const AttentionShape& shape, Kernel* without, Kernel* with) {
    return shape.soft_cap > 0 ? with : without;
}

// Tiles with the most pairs come first, of all heads, so that the last to run are short: otherwise the GPU would wait
// for a few long ones at the end.
inline dim3 attention_grid(int64_t max_sequence_length, int rows_of_block, int heads,
                           std::span<const int32_t> cu_seqlens) {
    const int64_t sequences = cu_seqlens.empty() ? 0 : static_cast<int64_t>(cu_seqlens.size()) - 1;
    return dim3(static_cast<unsigned>(heads), static_cast<unsigned>(ceil_div(max_sequence_length, rows_of_block)),
                static_cast<unsigned>(sequences));
}

template <class T>
void attention_forward(const Device<T>& device, Matrix<T> out, Matrix<float> lse, ConstMatrix<T> qkv,
                       std::span<const int32_t> cu_seqlens, int64_t max_sequence_length, const AttentionShape& shape,
                       std::span<float> /*workspace*/) {
    require_attention_shape(shape, cu_seqlens.size());
    const bool aligned = rows_are_aligned(qkv) && rows_are_aligned(out);
    const auto tensor_core = [&]<int kHeadDim, bool kCapped>() {
        launch(device, "attention_forward_tensor_core", attention_forward_tensor_core<T, kHeadDim, kCapped>,
               attention_grid(max_sequence_length, kForwardThreads, shape.n_heads, cu_seqlens), kForwardThreads,
               AttentionForwardTiles<T, kHeadDim>::kSharedBytes, out, lse, qkv, cu_seqlens.data(), shape);
    };
    if (on_tensor_cores<T>(shape, aligned, tensor_core)) return;
    launch(device, "attention_forward_generic",
           with_cap(shape, attention_forward_generic<T, false>, attention_forward_generic<T, true>),
           attention_grid(max_sequence_length, kGenericRows, shape.n_heads, cu_seqlens), kGenericThreads,
           generic_shared_bytes(shape.head_dim, 1), out, lse, qkv, cu_seqlens.data(), shape);
}

// delta[n, h] = dout[n, head h] . out[n, head h]: a block per token, kDeltaLanes lanes per head. `packed`: 16 bytes a
// load.
constexpr int kDeltaThreads = 256;
constexpr int kDeltaLanes = 16;

template <class T>
__global__ void __launch_bounds__(kDeltaThreads)
    attention_delta(Matrix<float> delta, Matrix<const T> dout, Matrix<const T> out, int head_dim, bool packed) {
    constexpr int kOfLoad = Packed<T>::size;
    const int64_t n = blockIdx.x;
    const int heads = static_cast<int>(delta.cols), lane = threadIdx.x % kDeltaLanes;
    for (int first = 0; first < heads; first += kDeltaThreads / kDeltaLanes) {
        const int h = first + threadIdx.x / kDeltaLanes;
        const int end = h < heads ? (h + 1) * head_dim : 0;
        float sum = 0;
        for (int d = h * head_dim + lane * kOfLoad; d < end; d += kDeltaLanes * kOfLoad) {
            const auto a = load<kOfLoad>(dout.row(n), d, end, packed), b = load<kOfLoad>(out.row(n), d, end, packed);
            for (int i = 0; i < kOfLoad; i++) sum += to_float(a[i]) * to_float(b[i]);
        }
        for (int distance = kDeltaLanes / 2; distance > 0; distance /= 2)
            sum += __shfl_xor_sync(kFullMask, sum, distance);
        if (h < heads && lane == 0) delta(n, h) = sum;
    }
}

// For benchmarks of smaller blocks and fewer stages.
struct BackwardLimits {
    int threads = 256, stages = 3;
};

// The first of `choices` within the limits whose shared memory a block can have, else the last.
template <class T, class SharedBytes>
BackwardTiles first_that_fits(const Device<T>& device, BackwardLimits limits, int head_dim,
                              const SharedBytes& shared_bytes, std::initializer_list<BackwardTiles> choices) {
    for (const BackwardTiles& choice : choices) {
        if (choice.threads <= limits.threads && choice.stages <= limits.stages &&
            shared_bytes(choice, head_dim * static_cast<int>(sizeof(T))) <= device.shared_bytes_per_block)
            return choice;
    }
    return *(choices.end() - 1);
}

template <int kHeadDim, bool kCapped, class T>
void attention_backward_tensor_core(const Device<T>& device, Matrix<T> dqkv, Matrix<const T> dout,
                                    Matrix<const float> lse, Matrix<const float> delta, Matrix<const T> qkv,
                                    std::span<const int32_t> cu_seqlens, int64_t max_sequence_length,
                                    const AttentionShape& shape, BackwardLimits limits) {
    constexpr int kRowBytes = kHeadDim * static_cast<int>(sizeof(T));
    const BackwardTiles dq = first_that_fits(device, limits, kHeadDim, dq_shared_bytes,
                                             {{128, kDqKeys, 2}, {64, kDqKeys, 2}, {64, kDqKeys, 1}});
    launch(device, "attention_backward_dq_tensor_core", attention_backward_dq_tensor_core<T, kHeadDim, kCapped>,
           attention_grid(max_sequence_length, dq.threads, shape.n_heads, cu_seqlens), dq.threads,
           dq_shared_bytes(dq, kRowBytes), dqkv, dout, lse, delta, qkv, cu_seqlens.data(), shape, dq.stages);

    const auto launch_dkv = [&]<int kQueries>(const BackwardTiles& dkv) {
        launch(device, "attention_backward_dkv_tensor_core",
               attention_backward_dkv_tensor_core<T, kHeadDim, kQueries, kCapped>,
               attention_grid(max_sequence_length, dkv.threads / 2, shape.n_kv_heads, cu_seqlens), dkv.threads,
               dkv_shared_bytes(dkv, kRowBytes), dqkv, dout, lse, delta, qkv, cu_seqlens.data(), shape, dkv.stages);
    };
    const auto choose_dkv = [&](std::initializer_list<BackwardTiles> choices) {
        return first_that_fits(device, limits, kHeadDim, dkv_shared_bytes, choices);
    };
    // With head_dim 128 the registers hold no more than 32 queries at a time.
    if constexpr (kHeadDim == 128) {
        launch_dkv.template operator()<32>(
            choose_dkv({{256, 32, 3}, {256, 32, 2}, {128, 32, 3}, {128, 32, 2}, {128, 32, 1}}));
    } else {
        const BackwardTiles dkv = choose_dkv({{256, 64, 3},
                                              {256, 64, 2},
                                              {256, 32, 3},
                                              {256, 32, 2},
                                              {128, 64, 2},
                                              {128, 32, 3},
                                              {128, 32, 2},
                                              {128, 32, 1}});
        if (dkv.moving == 64)
            launch_dkv.template operator()<64>(dkv);
        else
            launch_dkv.template operator()<32>(dkv);
    }
}

template <class T>
void attention_backward(const Device<T>& device, Matrix<T> dqkv, ConstMatrix<T> dout, ConstMatrix<T> out,
                        ConstMatrix<float> lse, ConstMatrix<T> qkv, std::span<const int32_t> cu_seqlens,
                        int64_t max_sequence_length, const AttentionShape& shape, std::span<float> workspace,
                        BackwardLimits limits = {}) {
    require_attention_shape(shape, cu_seqlens.size());
    const int64_t needed = attention_workspace(device, shape, out.rows);
    require(static_cast<int64_t>(workspace.size()) >= needed, "attention needs a workspace of ", needed,
            " elements and got ", workspace.size());
    const Matrix<float> delta(workspace.data(), out.rows, shape.n_heads);
    constexpr int kOfLoad = Packed<T>::size;
    const bool packed = shape.head_dim % kOfLoad == 0 && can_pack<kOfLoad>(dout) && can_pack<kOfLoad>(out);
    launch(device, "attention_delta", attention_delta<T>, static_cast<unsigned>(delta.rows), kDeltaThreads, 0, delta,
           dout, out, shape.head_dim, packed);

    const bool aligned = rows_are_aligned(qkv) && rows_are_aligned(dqkv) && rows_are_aligned(dout);
    const auto tensor_core = [&]<int kHeadDim, bool kCapped>() {
        attention_backward_tensor_core<kHeadDim, kCapped, T>(device, dqkv, dout, lse, delta, qkv, cu_seqlens,
                                                             max_sequence_length, shape, limits);
    };
    if (on_tensor_cores<T>(shape, aligned, tensor_core)) return;
    launch(device, "attention_backward_dq_generic",
           with_cap(shape, attention_backward_dq_generic<T, false>, attention_backward_dq_generic<T, true>),
           attention_grid(max_sequence_length, kGenericRows, shape.n_heads, cu_seqlens), kGenericThreads,
           generic_shared_bytes(shape.head_dim, 2), dqkv, dout, lse, delta, qkv, cu_seqlens.data(), shape);
    launch(device, "attention_backward_dkv_generic",
           with_cap(shape, attention_backward_dkv_generic<T, false>, attention_backward_dkv_generic<T, true>),
           attention_grid(max_sequence_length, kGenericRows, shape.n_kv_heads, cu_seqlens), kGenericThreads,
           generic_shared_bytes(shape.head_dim, 2), dqkv, dout, lse, delta, qkv, cu_seqlens.data(), shape);
}

// Generation: one query, the last of the k_cache.rows cached positions, against all of them that it sees. A block has
// one head; its warps share out the keys, eight at a time so that their loads overlap; a lane has some of the channels.
// At the end the warps' partial softmaxes are merged.
constexpr int kDecodeWarps = 16;
constexpr int kDecodeKeys = 8;

// (1: a block has a multiprocessor to itself, so there is no need to save registers.)
template <class T, bool kCapped>
__global__ void __launch_bounds__(kDecodeWarps* kWarpSize, 1)
    attention_decode_kernel(Matrix<T> out, Matrix<const T> q, Matrix<const T> k_cache, Matrix<const T> v_cache,
                            AttentionShape shape) {
    const int head_dim = shape.head_dim, head = blockIdx.x;
    const int warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
    const int64_t column = head / shape.group() * head_dim;
    const AttentionBand band{shape.window, static_cast<int>(k_cache.rows)};

    constexpr int kChannels = kMaxGenericHeadDim / kWarpSize;
    ChannelSums query, sums = {};
#pragma unroll
    for (int n = 0; n < kChannels; n++) {
        const int channel = n * kWarpSize + lane;
        query[n] = channel < head_dim ? to_float(q(0, head * head_dim + channel)) : 0.0f;
    }
    float largest = -INFINITY, total = 0;
    for (int first = band.first_key(band.length - 1) + warp * kDecodeKeys; first < band.length;
         first += kDecodeWarps * kDecodeKeys) {
        float p[kDecodeKeys];
        float new_largest = largest;
#pragma unroll
        for (int j = 0; j < kDecodeKeys; j++) {
            float dot = 0;
#pragma unroll
            for (int n = 0; n < kChannels; n++) {
                const int channel = n * kWarpSize + lane;
                if (channel < head_dim && first + j < band.length)
                    dot += query[n] * to_float(k_cache(first + j, column + channel));
            }
            p[j] = first + j < band.length ? generic_score<kCapped>(shape, warp_sum(dot)) : -INFINITY;
            new_largest = fmaxf(new_largest, p[j]);
        }
        const float correction = expf(largest - new_largest);
        largest = new_largest;
        total *= correction;
        for (float& sum : sums) sum *= correction;
#pragma unroll
        for (int j = 0; j < kDecodeKeys; j++) {
            p[j] = expf(p[j] - largest);
            total += p[j];
#pragma unroll
            for (int n = 0; n < kChannels; n++) {
                const int channel = n * kWarpSize + lane;
                if (channel < head_dim && first + j < band.length)
                    sums[n] += p[j] * to_float(v_cache(first + j, column + channel));
            }
        }
    }

    __shared__ float warp_largest[kDecodeWarps], warp_total[kDecodeWarps];
    float* warp_sums = shared_memory<float>();  // [warps, head_dim]
    if (lane == 0) {
        warp_largest[warp] = largest;
        warp_total[warp] = total;
    }
    store_channels(warp_sums + warp * head_dim, sums, 1.0f, head_dim);
    __syncthreads();
    for (int w = 0; w < kDecodeWarps; w++) largest = fmaxf(largest, warp_largest[w]);
    for (int channel = threadIdx.x; channel < head_dim; channel += kDecodeWarps * kWarpSize) {
        float numerator = 0, denominator = 0;
        for (int w = 0; w < kDecodeWarps; w++) {
            const float weight = expf(warp_largest[w] - largest);  // 0 for a warp that had no keys
            numerator += weight * warp_sums[w * head_dim + channel];
            denominator += weight * warp_total[w];
        }
        out(0, head * head_dim + channel) = from_float<T>(numerator / denominator);
    }
}

template <class T>
void attention_decode(const Device<T>& device, Matrix<T> out, ConstMatrix<T> q, ConstMatrix<T> k_cache,
                      ConstMatrix<T> v_cache, const AttentionShape& shape) {
    require_attention_shape(shape, 0);
    launch(device, "attention_decode",
           with_cap(shape, attention_decode_kernel<T, false>, attention_decode_kernel<T, true>),
           static_cast<unsigned>(shape.n_heads), kDecodeWarps * kWarpSize,
           kDecodeWarps * shape.head_dim * sizeof(float), out, q, k_cache, v_cache, shape);
}

}  // namespace cuda
