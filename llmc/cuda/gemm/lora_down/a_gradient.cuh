// The kernels of lora_down_da (lora_down.cuh): da += dz^T D(x).
#pragma once

#include <algorithm>
#include <cstdint>

#include "llmc/core/integers.h"
#include "llmc/cuda/gemm/lora_down/rows.cuh"

namespace cuda {

constexpr int kLoraDownDaColumns = 64;   // of a block
constexpr int kLoraDownDaThreads = 128;  // 2^k warps
constexpr int kLoraDownDaTokens = 128;   // of a block, at the least

// How many blocks a multiprocessor has registers for: a lane has 32 sums for each step of 16 ranks.
constexpr int lora_down_da_blocks(int64_t steps) {
    return steps <= 2 ? 3 : 2;
}

// How many blocks share the tokens of the same columns, so that all blocks run at once.
template <class T>
int64_t lora_down_da_slices(const Device<T>& device, int64_t tokens, int64_t in_features, int64_t rank) {
    const int64_t blocks = lora_down_da_blocks(ceil_div(rank, 16)) * device.multiprocessors;
    const int64_t wanted = blocks / std::max<int64_t>(1, ceil_div(in_features, kLoraDownDaColumns));
    return std::max<int64_t>(1, std::min(wanted, ceil_div(tokens, kLoraDownDaTokens)));
}

// partial[R slice + r, i] = the sum over the slice's tokens. A warp takes 16 of them at a time and all columns of the
// block; a lane has tokens 4 c .. 4 c + 3 of the 16 and, of every row, an Eight, which is the same column of eight
// products. Rows 2 g and 2 g + 1 of every 16 ranks are rows g and g + 8 of a product. Grid: x columns, y slices.
// `dz_packed`: dz can_pack<2>.
template <class T, int kSteps>
__global__ void __launch_bounds__(kLoraDownDaThreads, lora_down_da_blocks(kSteps))
    lora_down_da_kernel(Matrix<float> partial, Matrix<const T> dz, bool dz_packed, Matrix<const T> x, int slice_tokens,
                        Dropout dropout) {
    const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize, warps = blockDim.x / kWarpSize;
    const int group = lane / 4, c = lane % 4;
    const int first_column = static_cast<int>(blockIdx.x) * kLoraDownDaColumns, column = first_column + 8 * group;
    const int begin = static_cast<int>(blockIdx.y) * slice_tokens,
              end = min(begin + slice_tokens, static_cast<int>(x.rows));
    const int step = 16 * warps;

    const auto rank_pair = [&](int n, int r) {
        if (n >= static_cast<int>(dz.rows) || r >= static_cast<int>(dz.cols)) return uint32_t{0};
        return register_words(load<2>(dz.row(n), r, dz.cols, dz_packed))[0];
    };
    float sums[kSteps][8][4] = {};
    int token = begin + 16 * warp + 4 * c;
    FourRows next = load_rows(x, token, 1, column);
    for (int first = begin + 16 * warp; first < end; first += step, token += step) {
        FourRows rows = next;
        next = load_rows(x, token + step, 1, column);  // on its way while these are multiplied
        uint32_t of_dz[kSteps][4];
#pragma unroll
        for (int s = 0; s < kSteps; s++) {
#pragma unroll
            for (int i = 0; i < 4; i++) of_dz[s][i] = rank_pair(token + i, 16 * s + 2 * group);
        }
        drop<T>(rows, dropout, token, 1, column);
#pragma unroll
        for (int s = 0; s < kSteps; s++) {
            const uint32_t ranks[4] = {zip(of_dz[s][0], of_dz[s][1], false), zip(of_dz[s][0], of_dz[s][1], true),
                                       zip(of_dz[s][2], of_dz[s][3], false), zip(of_dz[s][2], of_dz[s][3], true)};
#pragma unroll
            for (int k = 0; k < 8; k++)
                mma_m16n8k16<T>(sums[s][k], ranks, zip(rows.of[0][k / 2], rows.of[1][k / 2], k % 2 == 1),
                                zip(rows.of[2][k / 2], rows.of[3][k / 2], k % 2 == 1));
        }
    }

    sum_of_warps<kSteps * 32>(&sums[0][0][0]);
    if (warp > 0) return;
#pragma unroll
    for (int s = 0; s < kSteps; s++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int r = 16 * s + 2 * group + i / 2, of_sums = first_column + 16 * c + 8 * (i % 2);
            Eight<float> eight;
#pragma unroll
            for (int k = 0; k < 8; k++) eight[k] = sums[s][k][i];
            if (r < dz.cols) store_eight(partial.row(blockIdx.y * dz.cols + r), of_sums, partial.cols, eight);
        }
    }
}

// da += the partial sums of all slices, in order; one Eight per thread.
template <class Sum>
__global__ void lora_down_da_sum_kernel(Matrix<Sum> da, Matrix<const Sum> partial) {
    const auto [r, i] = eight_position(da.cols);
    if (r >= da.rows) return;
    Eight<Sum> sum = load_eight(da.row(r), i, da.cols);
    for (int64_t row = r; row < partial.rows; row += da.rows) {
        const Eight<Sum> of_slice = load_eight(partial.row(row), i, da.cols);
#pragma unroll
        for (int k = 0; k < 8; k++) sum[k] += of_slice[k];
    }
    store_eight(da.row(r), i, da.cols, sum);
}

template <class T>
void launch_lora_down_da(const Device<T>& device, Matrix<float> da, ConstMatrix<T> dz, ConstMatrix<T> x,
                         const Dropout& dropout, float* partial_sums) {
    const int64_t slices = lora_down_da_slices(device, x.rows, x.cols, da.rows);
    const Matrix<float> partial(partial_sums, slices * da.rows, da.cols);
    const int slice_tokens = static_cast<int>(round_up(ceil_div(x.rows, slices), 16));
    with_steps_of(da.rows, dropout, [&]<int kSteps>() {
        const dim3 grid(static_cast<unsigned>(ceil_div(da.cols, kLoraDownDaColumns)), static_cast<unsigned>(slices));
        launch(device, "lora_down_da", lora_down_da_kernel<T, kSteps>, grid, kLoraDownDaThreads,
               bytes_of_sums(kLoraDownDaThreads, kSteps * 32), partial, dz, can_pack<2>(dz), x, slice_tokens, dropout);
    });
    launch(device, "lora_down_da_sum", lora_down_da_sum_kernel<float>, eight_blocks(da.rows, da.cols), kEightThreads, 0,
           da, partial);
}

}  // namespace cuda
