// Turns the sums of an int8 product back into floats and adds the product of adapters and outlier channels, in one pass
// over y:
//
//   y[n,o] = row_scale[n] col_scale[o] sums[n,o] + bias[o] + sum_k z[n,k] wz[o,k]
//
// without z and wz also rotated, y = (..) H (llmc/core/hadamard.h).
//
// n: tokens; o: outputs; k: rank and outlier channels, any number; without any it is dequantize_rows. y is written (=),
// and rounded to T once; col_scale and bias may be null: 1 and 0. sums may have more rows and columns than y.
//
// For 16-bit T a block has 128 columns of y, and a warp 32 rows by 64 columns as accumulators of the tensor cores. They
// begin with the dequantised sums, so that all that is left is an mma, D += A B, and one store. k is short: what counts
// is to keep memory busy. A block asks for all its sums before anything else, and they arrive together with the first
// slabs of z and wz; a second block of the multiprocessor multiplies and stores meanwhile.
//
// For other T, and where rows of z, wz or sums do not begin at multiples of 16 bytes, y is dequantised and the GEMM
// adds to it, which rounds twice more.
#pragma once

#include <type_traits>

#include "llmc/core/integers.h"
#include "llmc/cuda/gemm/gemm.cuh"
#include "llmc/cuda/kernel/mma.cuh"
#include "llmc/cuda/kernel/shared_tile.cuh"
#include "llmc/cuda/quantize.cuh"

namespace cuda {

// A block of 4 or 8 warps: 2 across, 64 columns each, and 2 or 4 down.
template <class T, int kThreads>
struct JointTiling {
    static constexpr int kRowTiles = 2, kColTiles = 8;                       // of 16 rows and of 8 columns, of a warp
    static constexpr int kRows = kThreads / kWarpSize / 2 * 16 * kRowTiles;  // of y, of a block
    static constexpr int kCols = 2 * 8 * kColTiles;
    static constexpr int kDepth = 32;  // columns of z and wz in a slab
    static constexpr int kStages = 3;  // slabs of each in shared memory: one in use, two on their way
    static constexpr size_t kSharedBytes = kStages * (kRows + kCols) * kDepth * sizeof(T);

    // Blocks of a multiprocessor, for which registers are shared out: half as many where shared memory is small.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ == 800 || (__CUDA_ARCH__ >= 900 && __CUDA_ARCH__ < 1200)
    static constexpr int kBlocks = 512 / kThreads;
#else
    static constexpr int kBlocks = 256 / kThreads;
#endif

    using Slab = SharedTile<T, kDepth>;
};

// Starts loading columns k .. k+31 of kRows rows; missing rows and columns are zeros. kDealt: rows go where
// dealt_column() puts them.
template <int kThreads, int kRows, bool kDealt, class T, int kDepth>
__device__ void load_joint_slab(SharedTile<T, kDepth> slab, const Matrix<const T>& m, int64_t first_row, int64_t k) {
    constexpr int kChunks = SharedTile<T, kDepth>::kChunks;
    static_assert(kRows * kChunks % kThreads == 0);
#pragma unroll
    for (int n = 0; n < kRows * kChunks / kThreads; n++) {
        const int i = n * kThreads + threadIdx.x, row = i / kChunks, index = i % kChunks;
        const int64_t left = first_row + row < m.rows ? m.cols - k - 8 * index : 0;
        const int present = left >= 8 ? 8 : left <= 0 ? 0 : static_cast<int>(left);
        cp_async_first(slab.chunk(kDealt ? dealt_column(row) : row, index), m.row(first_row + row) + k + 8 * index,
                       present * static_cast<int>(sizeof(T)));
    }
}

// Grid: x columns of y, y rows. Rows of sums, z and wz begin at multiples of 16 bytes, and sums has whole Eights.
template <class T, int kThreads>
__global__ void __launch_bounds__(kThreads, (JointTiling<T, kThreads>::kBlocks))
    dequantize_joint_kernel(Matrix<T> y, Matrix<const int32_t> sums, const float* row_scale, const float* col_scale,
                            const T* bias, Matrix<const T> z, Matrix<const T> wz) {
    using Tiling = JointTiling<T, kThreads>;
    using Slab = typename Tiling::Slab;
    constexpr int kRowTiles = Tiling::kRowTiles, kColTiles = Tiling::kColTiles, kStages = Tiling::kStages;
    const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
    const int64_t first_row = int64_t{blockIdx.y} * Tiling::kRows, first_col = int64_t{blockIdx.x} * Tiling::kCols;
    const int warp_row = warp / 2 * 16 * kRowTiles, warp_col = warp % 2 * 8 * kColTiles;
    // The lane's Eights of y: number (i, t) is in row `row` + 8 i, columns from `col` + 32 t on, as far as y goes.
    constexpr int kDown = 2 * kRowTiles, kAcross = kColTiles / 4;
    const int64_t row = first_row + warp_row + lane / 4, col = first_col + warp_col + lane % 4 * 8;
    const auto exists = [&](int i, int t) { return row + 8 * i < y.rows && col + 32 * t < y.cols; };

    Eight<int32_t> integers[kDown][kAcross] = {};
#pragma unroll
    for (int i = 0; i < kDown; i++) {
#pragma unroll
        for (int t = 0; t < kAcross; t++) {
            if (exists(i, t))
                integers[i][t] = *reinterpret_cast<const Eight<int32_t>*>(sums.row(row + 8 * i) + col + 32 * t);
        }
    }

    const auto z_slab = [](int stage) {
        return Slab{Slab{shared_memory<T>()}.after(stage * (Tiling::kRows + Tiling::kCols))};
    };
    const auto wz_slab = [&](int stage) { return Slab{z_slab(stage).after(Tiling::kRows)}; };
    const auto load = [&](int slab) {
        const int64_t k = int64_t{slab} * Tiling::kDepth;
        if (k < z.cols) {
            load_joint_slab<kThreads, Tiling::kRows, false>(z_slab(slab % kStages), z, first_row, k);
            load_joint_slab<kThreads, Tiling::kCols, true>(wz_slab(slab % kStages), wz, first_col, k);
        }
        cp_async_commit();  // a group for every slab, so that waiting for all but so many finds the right one
    };
    for (int slab = 0; slab < kStages - 1; slab++) load(slab);

    float values[kRowTiles][kColTiles][4] = {};
#pragma unroll
    for (int t = 0; t < kAcross; t++) {
        const Dequantize<T> dequantize(col_scale, bias, col + 32 * t, y.cols);
#pragma unroll
        for (int i = 0; i < kDown; i++) {
            const Eight<float> eight = dequantize(integers[i][t], row + 8 * i < y.rows ? row_scale[row + 8 * i] : 0);
#pragma unroll
            for (int j = 0; j < 8; j++) values[i / 2][4 * t + j / 2][i % 2 * 2 + j % 2] = eight[j];
        }
    }

    const int depth = static_cast<int>(z.cols);
    for (int slab = 0; slab * Tiling::kDepth < depth; slab++) {
        cp_async_wait<kStages - 2>();
        __syncthreads();  // this slab is there and the one before is read: the next may replace it
        load(slab + kStages - 1);
        const Slab rows = z_slab(slab % kStages), columns = wz_slab(slab % kStages);
#pragma unroll
        for (int k = 0; k < Tiling::kDepth / 16; k++) {
            if (slab * Tiling::kDepth + 16 * k >= depth) break;
            uint32_t z_registers[kRowTiles][4];
#pragma unroll
            for (int m = 0; m < kRowTiles; m++)
                ldmatrix_x4(z_registers[m], rows.chunk(warp_row + 16 * m + lane % 16, 2 * k + lane / 16));
#pragma unroll
            for (int t = 0; t < kColTiles; t += 2) {
                uint32_t wz_registers[4];
                ldmatrix_x4(wz_registers,
                            columns.chunk(warp_col + 8 * t + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
#pragma unroll
                for (int m = 0; m < kRowTiles; m++) {
                    mma_m16n8k16<T>(values[m][t], z_registers[m], wz_registers[0], wz_registers[1]);
                    mma_m16n8k16<T>(values[m][t + 1], z_registers[m], wz_registers[2], wz_registers[3]);
                }
            }
        }
    }

#pragma unroll
    for (int i = 0; i < kDown; i++) {
#pragma unroll
        for (int t = 0; t < kAcross; t++) {
            Eight<T> eight;
#pragma unroll
            for (int j = 0; j < 8; j++) eight[j] = from_float<T>(values[i / 2][4 * t + j / 2][i % 2 * 2 + j % 2]);
            if (exists(i, t)) store_eight(y.row(row + 8 * i), col + 32 * t, y.cols, eight);
        }
    }
}

template <int kThreads, class T>
void launch_dequantize_joint(const Device<T>& device, Matrix<T> y, Matrix<const int32_t> sums, const float* row_scale,
                             const float* col_scale, const T* bias, ConstMatrix<T> z, ConstMatrix<T> wz) {
    using Tiling = JointTiling<T, kThreads>;
    const dim3 grid(static_cast<unsigned>(ceil_div(y.cols, Tiling::kCols)),
                    static_cast<unsigned>(ceil_div(y.rows, Tiling::kRows)));
    launch(device, "dequantize_joint", dequantize_joint_kernel<T, kThreads>, grid, kThreads, Tiling::kSharedBytes, y,
           sums, row_scale, col_scale, bias, z, wz);
}

// Whether the kernel takes these operands, of 16-bit T.
template <class T>
bool joins_in_registers(Matrix<const int32_t> sums, Matrix<const T> z, Matrix<const T> wz) {
    const auto rows_at_16_bytes = [](const auto& m) {
        return reinterpret_cast<uintptr_t>(m.data) % 16 == 0 && m.stride * sizeof(*m.data) % 16 == 0;
    };
    return can_pack<8>(sums) && rows_at_16_bytes(z) && rows_at_16_bytes(wz);
}

template <class T>
void dequantize_joint(const Device<T>& device, Matrix<T> y, Matrix<const int32_t> sums, const float* row_scale,
                      const float* col_scale, const std::type_identity_t<T>* bias, ConstMatrix<T> z, ConstMatrix<T> wz,
                      int64_t rotation) {
    require(rotation == 0 || z.cols == 0, "a joint product is not rotated");
    if constexpr (sizeof(T) == 2) {
        if (z.cols > 0 && joins_in_registers(sums, z, wz)) {
            launch_dequantize_joint<128>(device, y, sums, row_scale, col_scale, bias, z, wz);
            return;
        }
    }
    dequantize_rows(device, y, sums, row_scale, col_scale, bias, rotation);
    if (z.cols > 0) gemm_nt<T>(device, y, z, wz, 1, 1);
}

}  // namespace cuda
