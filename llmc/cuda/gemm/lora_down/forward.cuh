// The kernel of lora_down (lora_down.cuh): z = D(x) a^T.
#pragma once

#include <cstdint>

#include "llmc/core/integers.h"
#include "llmc/cuda/gemm/lora_down/rows.cuh"

namespace cuda {

constexpr int kLoraDownThreads = 256;  // at the most; 2^k warps
constexpr int kLoraDownRowTiles = 2;   // of 16 rows, of a block
constexpr int kLoraDownRows = 16 * kLoraDownRowTiles;

// A block has 32 rows and all ranks, and its warps share out the columns, to keep the GPU busy where z is small: warp w
// takes columns 32 w .. 32 w + 31, then those 32 warps further on. A lane of the product needs four pairs of a row;
// here they are its Eight, in two products of 16 columns.
template <class T, int kSteps>
__global__ void __launch_bounds__(kLoraDownThreads, kSteps <= 2 ? 2 : 1)
    lora_down_kernel(Matrix<T> z, Matrix<const T> x, Matrix<const T> a, Dropout dropout) {
    constexpr int kTiles = 2 * kSteps;  // of 8 ranks
    const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize, warps = blockDim.x / kWarpSize;
    const int first_row = static_cast<int>(blockIdx.x) * kLoraDownRows + lane / 4;  // and 8, 16, 24 below it

    float sums[kLoraDownRowTiles][kTiles][4] = {};
    const int step = 32 * warps;
    int c = 32 * warp + 8 * (lane % 4);
    FourRows next = load_rows(x, first_row, 8, c);
    for (int begin = 32 * warp; begin < static_cast<int>(x.cols); begin += step, c += step) {
        FourRows rows = next;
        next = load_rows(x, first_row, 8, c + step);  // on its way while these are multiplied
        drop<T>(rows, dropout, first_row, 8, c);
#pragma unroll
        for (int t = 0; t < kTiles; t++) {
            const auto column = register_words(eight_or_zeros(a, 8 * t + lane / 4, c));
#pragma unroll
            for (int m = 0; m < kLoraDownRowTiles; m++) {
                const EightWords &upper = rows.of[2 * m], &lower = rows.of[2 * m + 1];
#pragma unroll
                for (int k = 0; k < 4; k += 2)
                    mma_m16n8k16<T>(sums[m][t], {upper[k], lower[k], upper[k + 1], lower[k + 1]}, column[k],
                                    column[k + 1]);
            }
        }
    }

    constexpr int kSums = kLoraDownRowTiles * kTiles * 4;
    float* own = &sums[0][0][0];
    sum_of_warps<kSums>(own);
    if (warp > 0) return;
#pragma unroll
    for (int i = 0; i < kSums; i++) {
        const int n = first_row + i / (4 * kTiles) * 16 + i % 4 / 2 * 8;
        const int r = i / 4 % kTiles * 8 + lane % 4 * 2 + i % 2;
        if (n < z.rows && r < z.cols) z(n, r) = from_float<T>(own[i]);
    }
}

template <class T>
void launch_lora_down(const Device<T>& device, int threads, Matrix<T> z, ConstMatrix<T> x, ConstMatrix<T> a,
                      const Dropout& dropout) {
    with_steps_of(a.rows, dropout, [&]<int kSteps>() {
        launch(device, "lora_down", lora_down_kernel<T, kSteps>,
               dim3(static_cast<unsigned>(ceil_div(z.rows, kLoraDownRows))), threads,
               bytes_of_sums(threads, kLoraDownRowTiles * 2 * kSteps * 4), z, x, a, dropout);
    });
}

}  // namespace cuda
