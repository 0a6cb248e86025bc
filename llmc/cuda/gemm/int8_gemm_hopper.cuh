// The int8 GEMM of a Hopper GPU, whole in one kernel: the integer sums never leave the registers they are made in.
//
//   y[n,o] = row_scale[n] col_scale[o] sum_i a[n,i] b[o,i] + bias[o] + sum_k z[n,k] wz[o,k]
//
// or, without z and wz, the same rotated, y = (..) H (llmc/core/hadamard.h).
//
// y [N,O] is written (=) and rounded once. a [N,I] and b [O,I] are int8, padded as int8_gemm.cuh says; z [N,K] and
// wz [O,K] are of y's type, or empty; col_scale and bias may be null: 1 and 0.
//
// A block stays on its multiprocessor and computes one tile of 128 x 256 of y after the other, a warpgroup 64 x 256 of
// it. Operands come in slabs of 128 bytes of both operands' rows: first of a and b, then, once the sums have been
// dequantised in place, of z and wz. Slabs arrive by cp.async two ahead of the one in use, across tiles, too, so that a
// tile's result is rounded and stored while the next one's operands arrive.
#pragma once

#include <algorithm>
#include <cstdint>

#include "llmc/core/integers.h"
#include "llmc/cuda/kernel/hadamard.cuh"
#include "llmc/cuda/kernel/shared_tile.cuh"
#include "llmc/cuda/kernel/tile_order.cuh"
#include "llmc/cuda/kernel/wgmma.cuh"
#include "llmc/cuda/quantize.cuh"

namespace cuda {

// The Makefile says whether the program holds code for sm_90a.
#if defined(LLMC_HOPPER) || defined(LLMC_EMULATED)
constexpr bool kHasHopperCode = true;
#else
constexpr bool kHasHopperCode = false;
#endif

struct HopperTiling {
    static constexpr int kThreads = 2 * kWarpgroupThreads;
    static constexpr int kRows = 2 * kWgmmaRows, kCols = kWgmmaColumns;
    static constexpr int kDepth = 128;  // bytes of a row in a slab
    static constexpr int kStages = 4;   // slabs in shared memory: one in use, one just used, two arriving
    static constexpr int kAlignment = 1024;
    static constexpr size_t kSharedBytes = kStages * (kRows + kCols) * kDepth + kAlignment;

    using Slab = SharedTile<int8_t, kDepth>;
};

// The operands of one sum as bytes: rows of `bytes` bytes, a multiple of 16.
struct SummedRows {
    Matrix<const int8_t> a, b;
    int bytes;

    __host__ __device__ int slabs() const { return ceil_div(bytes, HopperTiling::kDepth); }
};

// One thread's part of the rows of an operand that a tile needs: a chunk of 16 bytes of every 32nd row.
struct HopperRows {
    const int8_t* next;  // the chunk of the slab that is due, in the thread's first row
    int64_t step;        // bytes from one of the thread's rows to the next
    int rows;            // that there are from the thread's first row on

    __device__ void begin(const Matrix<const int8_t>& m, int64_t first_row) {
        constexpr int kChunks = HopperTiling::Slab::kChunks;
        const int64_t row = first_row + threadIdx.x / kChunks;
        next = m.row(row) + threadIdx.x % kChunks * 16;
        step = m.stride * (HopperTiling::kThreads / kChunks);
        rows = static_cast<int>(min(m.rows - row, int64_t{HopperTiling::kCols}));
    }

    // Starts loading a slab of kRows rows to `shared`, where the thread's first chunk goes, and moves on to the next
    // slab. Missing rows are zeros; so is everything if not `present`.
    template <int kRows>
    __device__ void load(int8_t* shared, bool present) {
        constexpr int kEvery = HopperTiling::kThreads / HopperTiling::Slab::kChunks;
#pragma unroll
        for (int row = 0; row < kRows; row += kEvery)
            cp_async_16(shared + row * HopperTiling::kDepth, next + row / kEvery * step, present && row < rows);
        next += HopperTiling::kDepth;
    }
};

// Of a thread's sums, the k-th of its `eight` of 32 columns, in the first or second of its rows.
__device__ constexpr int sum_of_eight(int eight, int half, int k) {
    return 4 * (4 * eight + k / 2) + 2 * half + k % 2;
}

// The thread's part of two rows of floats times H. Of neighbouring Eights of a row, those 8 and 16 columns apart are
// held by lanes 1 and 2 apart, those 32 columns apart by the lane itself. All lanes of the warp call it.
__device__ inline void rotate_sums(int32_t (&sums)[kWgmmaSums], int rotation) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
#pragma unroll
        for (int eight = 0; eight < kWgmmaColumns / 32; eight += 2) {
            Eight<float> pair[2];
#pragma unroll
            for (int i = 0; i < 16; i++)
                pair[i / 8][i % 8] = __int_as_float(sums[sum_of_eight(eight + i / 8, half, i % 8)]);
#pragma unroll
            for (int i = 0; i < 2; i++) {
                hadamard_within(pair[i]);
                for (int apart = 1; apart < 4 && 16 * apart <= rotation; apart *= 2) hadamard_between(pair[i], apart);
            }
            const float factor = hadamard_factor(rotation);
#pragma unroll
            for (int k = 0; k < 8; k++) {
                const float left = pair[0][k], right = pair[1][k];
                if (rotation == 64) {
                    pair[0][k] = left + right;
                    pair[1][k] = left - right;
                }
#pragma unroll
                for (int i = 0; i < 2; i++)
                    sums[sum_of_eight(eight + i, half, k)] = __float_as_int(pair[i][k] * factor);
            }
        }
    }
}

template <class T>
__global__ void __launch_bounds__(HopperTiling::kThreads, 1)
    int8_gemm_hopper_kernel(Matrix<T> y, SummedRows integers, const float* row_scale, const float* col_scale,
                            const T* bias, SummedRows joint, int rotation, bool packed) {
    alignas(32) __shared__ float row_factors[HopperTiling::kRows], col_factors[HopperTiling::kCols],
        addends[HopperTiling::kCols];
    using Tiling = HopperTiling;
    constexpr int kStages = Tiling::kStages, kProducts = Tiling::kDepth / kWgmmaBytes, kEights = kWgmmaColumns / 32;
    const TileOrder order(y.rows, y.cols, Tiling::kRows, Tiling::kCols);
    const int lane = threadIdx.x % kWarpSize;
    // Of the block's rows, this thread's first.
    const int thread_row = static_cast<int>(threadIdx.x) / kWarpSize * 16 + lane / 4;
    const int group_row = static_cast<int>(threadIdx.x) / kWarpgroupThreads * kWgmmaRows;

    int8_t* const shared =
        reinterpret_cast<int8_t*>(round_up(reinterpret_cast<uintptr_t>(shared_memory<int8_t>()), Tiling::kAlignment));
    const auto a_slab = [&](int stage) {
        return Tiling::Slab{shared + stage * (Tiling::kRows + Tiling::kCols) * Tiling::kDepth};
    };
    const auto b_slab = [&](int stage) { return Tiling::Slab{a_slab(stage).after(Tiling::kRows)}; };

    // The next slab to load: slabs are numbered from 0 in each tile, those of z and wz last.
    constexpr int kChunks = Tiling::Slab::kChunks;
    const int chunk_row = static_cast<int>(threadIdx.x) / kChunks, chunk = static_cast<int>(threadIdx.x) % kChunks;
    const int64_t a_chunk = a_slab(0).chunk(chunk_row, chunk) - shared,
                  b_chunk = b_slab(0).chunk(dealt_column(chunk_row), chunk) - shared;
    const int integer_slabs = integers.slabs(), slabs = integer_slabs + joint.slabs();
    int loading_tile = static_cast<int>(blockIdx.x), loading = 0, loading_stage = 0;
    int bytes_left = 0;  // in rows, from this thread's chunk on
    HopperRows a_rows, b_rows;
    const auto load_next = [&] {
        if (loading_tile < order.tiles()) {
            if (loading == 0 || loading == integer_slabs) {
                const TileOrder::Origin origin = order.origin(loading_tile);
                const SummedRows sum = loading < integer_slabs ? integers : joint;
                a_rows.begin(sum.a, origin.row);
                b_rows.begin(sum.b, origin.col);
                bytes_left = sum.bytes - 16 * chunk;
            }
            int8_t* const slab = a_slab(loading_stage).data;
            a_rows.load<Tiling::kRows>(slab + a_chunk, bytes_left > 0);
            b_rows.load<Tiling::kCols>(slab + b_chunk, bytes_left > 0);
            bytes_left -= Tiling::kDepth;
            loading_stage = (loading_stage + 1) % kStages;
            if (++loading == slabs) {
                loading = 0;
                loading_tile += static_cast<int>(gridDim.x);
            }
        }
        cp_async_commit();  // a group for every slab, so that waiting for all but so many finds the right one
    };
    int stage = 0;
    // Starts adding the products of the due slab, whose rows are of Elements, waits for those of the slab before, and
    // has the place of the one before that refilled.
    const auto multiply_next = [&]<class Element>(int32_t(&sums)[kWgmmaSums]) {
        cp_async_wait<kStages - 3>();
        publish_to_wgmma();
        __syncthreads();  // the slab is there; the products of the last but one are done in all threads
        wgmma_fence(sums);
        const int8_t* const a = a_slab(stage).data + group_row * Tiling::kDepth;
        const int8_t* const b = b_slab(stage).data;
#pragma unroll
        for (int k = 0; k < kProducts; k++) wgmma_m64n256<Element>(sums, a + k * kWgmmaBytes, b + k * kWgmmaBytes);
        wgmma_commit();
        load_next();
        wgmma_wait<1>(sums);
        stage = (stage + 1) % kStages;
    };

    for (int slab = 0; slab < kStages - 2; slab++) load_next();
    for (int tile = static_cast<int>(blockIdx.x); tile < order.tiles(); tile += static_cast<int>(gridDim.x)) {
        const TileOrder::Origin origin = order.origin(tile);
        const int64_t first_row = origin.row + thread_row, first_col = origin.col + lane % 4 * 8;
        // Requested before the products and needed after them: a thread loads the factors of the row and the column of
        // its number.
        const int64_t own_row = origin.row + threadIdx.x, own_col = origin.col + threadIdx.x;
        const float own_row_scale = own_row < y.rows ? row_scale[own_row] : 0.0f;
        const float own_col_scale = col_scale != nullptr && own_col < y.cols ? col_scale[own_col] : 1.0f;

        int32_t sums[kWgmmaSums] = {};  // integers, and then the bits of floats
        for (int slab = 0; slab < integer_slabs; slab++) multiply_next.template operator()<int8_t>(sums);
        wgmma_wait<0>(sums);

        if (threadIdx.x < Tiling::kRows) row_factors[threadIdx.x] = own_row_scale;
        col_factors[threadIdx.x] = own_col_scale;
        addends[threadIdx.x] = bias != nullptr && own_col < y.cols ? to_float(bias[own_col]) : 0.0f;
        __syncthreads();  // all rows' and columns' are there
        const float scale[2] = {row_factors[thread_row], row_factors[thread_row + 8]};
#pragma unroll
        for (int eight = 0; eight < kEights; eight++) {
            const int col = 32 * eight + lane % 4 * 8;
            if (origin.col + col >= y.cols) break;
            const auto factor = *reinterpret_cast<const Eight<float>*>(col_factors + col),
                       addend = *reinterpret_cast<const Eight<float>*>(addends + col);
#pragma unroll
            for (int i = 0; i < 16; i++) {
                const int half = i / 8, k = i % 8, sum = sum_of_eight(eight, half, k);
                sums[sum] = __float_as_int(scale[half] * factor[k] * static_cast<float>(sums[sum]) + addend[k]);
            }
        }
        if (rotation > 0) rotate_sums(sums, rotation);  // columns beyond y, whole blocks of them, may hold anything
        if constexpr (!std::is_same_v<T, float>) {
            for (int slab = integer_slabs; slab < slabs; slab++) multiply_next.template operator()<T>(sums);
            wgmma_wait<0>(sums);
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int64_t row = first_row + 8 * half;
            if (row >= y.rows) continue;
#pragma unroll
            for (int eight = 0; eight < kEights; eight++) {
                Eight<T> rounded;
#pragma unroll
                for (int k = 0; k < 8; k++)
                    rounded[k] = from_float<T>(__int_as_float(sums[sum_of_eight(eight, half, k)]));
                const int64_t col = first_col + 32 * eight;
                if (col >= y.cols) break;
                if (packed && col + 8 <= y.cols)
                    *reinterpret_cast<Eight<T>*>(y.row(row) + col) = rounded;
                else
                    store_eight(y.row(row), col, y.cols, rounded);
            }
        }
    }
}

// Whether the kernel takes this GPU and these operands: joint rows, if any, must consist of chunks of 16 bytes.
template <class T>
bool int8_gemm_hopper_takes(const Device<T>& device, ConstMatrix<T> z, ConstMatrix<T> wz) {
    if (!kHasHopperCode || device.sm != 90) return false;
    return z.cols == 0 || (sizeof(T) == 2 && can_pack<8>(z) && can_pack<8>(wz));
}

// `features`: columns of a and b that are summed over, a multiple of 16.
template <class T>
void int8_gemm_hopper(const Device<T>& device, Matrix<T> y, Matrix<const int8_t> a, const float* row_scale,
                      Matrix<const int8_t> b, const float* col_scale, const std::type_identity_t<T>* bias,
                      int64_t features, ConstMatrix<T> z, ConstMatrix<T> wz, int64_t rotation = 0) {
    require(rotation == 0 || z.cols == 0, "a joint product is not rotated");
    const auto as_bytes = [](const Matrix<const T>& m) {
        constexpr auto kBytes = static_cast<int64_t>(sizeof(T));
        return Matrix<const int8_t>(reinterpret_cast<const int8_t*>(m.data), m.rows, m.cols * kBytes,
                                    m.stride * kBytes);
    };
    const SummedRows integers{a, b, static_cast<int>(features)},
        joint{as_bytes(z), as_bytes(wz), static_cast<int>(z.cols * static_cast<int64_t>(sizeof(T)))};
    const int tiles = TileOrder(y.rows, y.cols, HopperTiling::kRows, HopperTiling::kCols).tiles();
    launch(device, "int8_gemm_hopper", int8_gemm_hopper_kernel<T>,
           static_cast<unsigned>(std::min(tiles, device.multiprocessors)), HopperTiling::kThreads,
           HopperTiling::kSharedBytes, y, integers, row_scale, col_scale, bias, joint, static_cast<int>(rotation),
           can_pack<8>(y));
}

}  // namespace cuda
