// RMSNorm of every head of the queries, or of the keys, in place.
//
//   kept[n,h,d] = x[n,h,d]
//   rstd[n,h]   = 1 / sqrt(mean_d x[n,h,d]^2 + eps)
//   x[n,h,d]    = x[n,h,d] rstd[n,h] weight[d]
//
// backward, in place, with g = dx weight and y = kept rstd:
//   dx[n,h,d]   = rstd[n,h] (g[n,h,d] - y[n,h,d] mean_d(g y))
//
// n: packed tokens; h: heads, the columns of rstd; d: channels of a head. x and kept are [N, heads * channels], usually
// columns of wider buffers. `kept` and `rstd` are written (=). All heads share the weight (NormWeight in
// llmc/core/operator_options.h), which is frozen and gets no gradient. Zhang and Sennrich 2019, arXiv 1910.07467; Henry
// et al. 2020, arXiv 2010.04245.
//
// A head is short: a team of as many lanes as it has Eights, up to a warp, owns it, and a block of 256 threads has
// several. A lane reads, keeps and writes the same columns, so that nothing but the sum crosses lanes.
#pragma once

#include <algorithm>
#include <bit>

#include "llmc/cuda/kernel/norm_weight.cuh"

namespace cuda {

// Lanes of a head's team: a power of two.
inline int team_lanes(int64_t head_dim) {
    return static_cast<int>(std::min<int64_t>(std::bit_ceil(static_cast<uint64_t>(ceil_div(head_dim, 8))), kWarpSize));
}

// A head of a token, and this lane's place in its team. All lanes of a warp are in whole teams, so that they shuffle
// together; those behind the last head have nothing to do.
struct TeamPosition {
    int64_t n, h;
    int first;  // column
    bool exists;
};

__device__ inline TeamPosition team_position(int64_t rows, int64_t heads, int lanes) {
    const uint32_t index = (blockIdx.x * kEightThreads + threadIdx.x) / static_cast<uint32_t>(lanes);
    const uint32_t n = index / static_cast<uint32_t>(heads);
    return {n, index % static_cast<uint32_t>(heads), 8 * static_cast<int>(threadIdx.x % static_cast<unsigned>(lanes)),
            n < rows};
}

// The sum over a team, in each of its lanes: pairs at the largest distance first.
__device__ inline float team_sum(float x, int lanes) {
    for (int distance = lanes / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(kFullMask, x, distance);
    return x;
}

template <class T>
__global__ void head_norm_forward_kernel(Matrix<T> x, Matrix<T> kept, Matrix<float> rstd, NormWeight<T> weight,
                                         float eps, int head_dim, int lanes) {
    const auto [n, h, first, exists] = team_position(x.rows, rstd.cols, lanes);
    T* head = exists ? x.row(n) + h * head_dim : nullptr;
    T* copy = exists ? kept.row(n) + h * head_dim : nullptr;
    float sum = 0;
    for (int d = first; exists && d < head_dim; d += 8 * lanes) {
        const Eight<T> values = load_eight(head, d, head_dim);
        store_eight(copy, d, head_dim, values);
#pragma unroll
        for (int k = 0; k < 8; k++) sum = fmaf(to_float(values[k]), to_float(values[k]), sum);
    }
    const float scale = 1.0f / sqrtf(team_sum(sum, lanes) / static_cast<float>(head_dim) + eps);
    if (!exists) return;
    if (first == 0) rstd(n, h) = scale;
    for (int d = first; d < head_dim; d += 8 * lanes) {
        Eight<T> values = load_eight(head, d, head_dim);
        const Eight<float> w = load_eight(weight, d, head_dim);
#pragma unroll
        for (int k = 0; k < 8; k++) values[k] = from_float<T>(to_float(values[k]) * scale * w[k]);
        store_eight(head, d, head_dim, values);
    }
}

template <class T>
__global__ void head_norm_backward_kernel(Matrix<T> dx, Matrix<const T> kept, Matrix<const float> rstd,
                                          NormWeight<T> weight, int head_dim, int lanes) {
    const auto [n, h, first, exists] = team_position(dx.rows, rstd.cols, lanes);
    T* gradient = exists ? dx.row(n) + h * head_dim : nullptr;
    const T* head = exists ? kept.row(n) + h * head_dim : nullptr;
    float sum = 0;  // of g kept
    for (int d = first; exists && d < head_dim; d += 8 * lanes) {
        const Eight<T> g = load_eight(gradient, d, head_dim), values = load_eight(head, d, head_dim);
        const Eight<float> w = load_eight(weight, d, head_dim);
#pragma unroll
        for (int k = 0; k < 8; k++) sum = fmaf(to_float(g[k]) * w[k], to_float(values[k]), sum);
    }
    sum = team_sum(sum, lanes);
    if (!exists) return;
    const float scale = rstd(n, h);
    const float coefficient = sum * scale * scale / static_cast<float>(head_dim);  // y mean(g y) = kept coefficient
    for (int d = first; d < head_dim; d += 8 * lanes) {
        Eight<T> g = load_eight(gradient, d, head_dim);
        const Eight<T> values = load_eight(head, d, head_dim);
        const Eight<float> w = load_eight(weight, d, head_dim);
#pragma unroll
        for (int k = 0; k < 8; k++)
            g[k] = from_float<T>(scale * (to_float(g[k]) * w[k] - to_float(values[k]) * coefficient));
        store_eight(gradient, d, head_dim, g);
    }
}

// As many blocks as hold the teams of all heads.
inline dim3 team_blocks(int64_t rows, int64_t heads, int lanes) {
    const int64_t threads = rows * heads * lanes;
    require(threads < (int64_t{1} << 32) - kEightThreads, rows, " tokens of ", heads,
            " heads are more than one kernel handles; use smaller micro-batches");
    return dim3(static_cast<unsigned>(ceil_div(threads, kEightThreads)));
}

template <class T>
void head_norm_forward(const Device<T>& device, Matrix<T> x, Matrix<T> kept, Matrix<float> rstd,
                       NormWeight<std::type_identity_t<T>> weight, float eps) {
    const int64_t head_dim = x.cols / rstd.cols;
    const int lanes = team_lanes(head_dim);
    launch(device, "head_norm_forward", head_norm_forward_kernel<T>, team_blocks(x.rows, rstd.cols, lanes),
           kEightThreads, 0, x, kept, rstd, weight, eps, static_cast<int>(head_dim), lanes);
}

template <class T>
void head_norm_backward(const Device<T>& device, Matrix<T> dx, ConstMatrix<T> kept, Matrix<const float> rstd,
                        NormWeight<std::type_identity_t<T>> weight) {
    const int64_t head_dim = dx.cols / rstd.cols;
    const int lanes = team_lanes(head_dim);
    launch(device, "head_norm_backward", head_norm_backward_kernel<T>, team_blocks(dx.rows, rstd.cols, lanes),
           kEightThreads, 0, dx, kept, rstd, weight, static_cast<int>(head_dim), lanes);
}

}  // namespace cuda
