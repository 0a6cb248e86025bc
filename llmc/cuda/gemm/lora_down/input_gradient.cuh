// The kernel of lora_down_dx (lora_down.cuh): dx += mask / (1-p) (dz a).
#pragma once

#include <cstdint>

#include "llmc/core/integers.h"
#include "llmc/cuda/gemm/lora_down/rows.cuh"

namespace cuda {

constexpr int kLoraDownDxThreads = 128;  // at the most
constexpr int kLoraDownDxRows = 128;     // of a warp, 16 at a time

// How many blocks a multiprocessor has registers for: a lane has 8 for each step of 16 ranks.
constexpr int lora_down_dx_blocks(int steps) {
    return steps == 1 ? 8 : steps == 2 ? 5 : 4;
}

// A warp has 32 columns and keeps their part of A in registers while it goes down its rows. The two columns that a lane
// has in each of four products are 2 t and 2 t + 1 of its Eight; its ranks, of every 16, are 4 c .. 4 c + 3. Grid: x
// columns, y rows. `dz_packed`: dz can_pack<4>.
template <class T, int kSteps>
__global__ void __launch_bounds__(kLoraDownDxThreads, lora_down_dx_blocks(kSteps))
    lora_down_dx_kernel(Matrix<T> dx, Matrix<const T> dz, bool dz_packed, Matrix<const T> a, Dropout dropout) {
    const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize, warps = blockDim.x / kWarpSize;
    const int group = lane / 4, c = lane % 4;
    const int first_column = (static_cast<int>(blockIdx.x) * warps + warp) * 32, column = first_column + 8 * c;
    const int rows = static_cast<int>(dx.rows), columns = static_cast<int>(dx.cols);
    if (first_column >= columns) return;

    uint32_t of_a[kSteps][4][2];
#pragma unroll
    for (int s = 0; s < kSteps; s++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int r = 16 * s + 4 * c + 2 * half, of_group = first_column + group / 2 * 8;
            const auto low = register_words(eight_or_zeros(a, r, of_group)),
                       high = register_words(eight_or_zeros(a, r + 1, of_group));
#pragma unroll
            for (int t = 0; t < 4; t++) of_a[s][t][half] = zip(low[t], high[t], group % 2 == 1);
        }
    }

    const auto ranks = [&](int n, int r) {
        if (n >= rows || r >= static_cast<int>(dz.cols)) return Packed<uint32_t, 2>{};
        return register_words(load<4>(dz.row(n), r, dz.cols, dz_packed));
    };
    const float keep_factor = dropout_keep_factor(dropout.p);
    const int begin = static_cast<int>(blockIdx.y) * kLoraDownDxRows, end = min(begin + kLoraDownDxRows, rows);
    for (int row = begin + group; row - group < end; row += 16) {
        EightWords words[2];  // of rows `row` and `row + 8`
#pragma unroll
        for (int i = 0; i < 2; i++) words[i] = register_words(eight_or_zeros<T>(dx, row + 8 * i, column));
        float sums[4][4] = {};
#pragma unroll
        for (int s = 0; s < kSteps; s++) {
            const auto upper = ranks(row, 16 * s + 4 * c), lower = ranks(row + 8, 16 * s + 4 * c);
#pragma unroll
            for (int t = 0; t < 4; t++)
                mma_m16n8k16<T>(sums[t], {upper[0], lower[0], upper[1], lower[1]}, of_a[s][t][0], of_a[s][t][1]);
        }
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int n = row + 8 * i;
            if (n >= rows || column >= columns) continue;
            const uint32_t kept = kept_bits(dropout, n, column);
            const auto factor = [&](int k) { return kept >> k & 1 ? keep_factor : 0.0f; };
#pragma unroll
            for (int t = 0; t < 4; t++) {
                const auto before = unpack<T>(words[i][t]);
                words[i][t] = pack<T>(fmaf(sums[t][2 * i], factor(2 * t), before[0]),
                                      fmaf(sums[t][2 * i + 1], factor(2 * t + 1), before[1]));
            }
            // __stcg, because nvcc would split a plain store of these four.
            __stcg(reinterpret_cast<uint4*>(dx.row(n) + column),
                   make_uint4(words[i][0], words[i][1], words[i][2], words[i][3]));
        }
    }
}

template <class T>
void launch_lora_down_dx(const Device<T>& device, int threads, Matrix<T> dx, ConstMatrix<T> dz, ConstMatrix<T> a,
                         const Dropout& dropout) {
    with_steps_of(a.rows, dropout, [&]<int kSteps>() {
        const dim3 grid(static_cast<unsigned>(ceil_div(dx.cols, threads)),  // 32 columns a warp
                        static_cast<unsigned>(ceil_div(dx.rows, kLoraDownDxRows)));
        launch(device, "lora_down_dx", lora_down_dx_kernel<T, kSteps>, grid, threads, 0, dx, dz, can_pack<4>(dz), a,
               dropout);
    });
}

}  // namespace cuda
