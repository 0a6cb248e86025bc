// What LoRA adapters compute at the input of their linear, with dropout before A (llmc/core/lora_down.h):
//
//   lora_down      z[n,r]   = sum_i D(x)[n,i] a[r,i]                      forward
//   lora_down_dx   dx[n,i] += mask[n,i] / (1-p) sum_r dz[n,r] a[r,i]      gradient of the input
//   lora_down_da   da[r,i] += sum_n dz[n,r] D(x)[n,i]                     gradient of A
//
// Each reads its large matrix once, dx is written once, and D(x) and dz a never go to memory: a lane draws the mask of
// the Eights that it has loaded, and D(x) is rounded to T as dropout_forward rounds it.
//
// All operands go straight from global memory to the tensor cores, past shared memory. A product may sum in any order
// that both operands share, and its rows and columns may stand for any of a matrix's. Here they stand for those that
// make what a lane holds (mma.cuh) the Eights that it can load, draw for, and store.
//
// The kernels take 16-bit types with rows at multiples of 16 bytes, and ranks whose sums fit into registers; all else
// goes through dropout.cuh and gemm.cuh. So does what has no dropout: cuBLASLt reads its operands once, too, and is
// faster.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

#include "llmc/core/integers.h"
#include "llmc/core/lora_down.h"
#include "llmc/cuda/dropout.cuh"
#include "llmc/cuda/gemm/gemm.cuh"
#include "llmc/cuda/kernel/mma.cuh"

namespace cuda {

constexpr int64_t kMostFusedRank = 64;  // of a layer's adapters together

template <class T>
bool lora_down_fuses(const Matrix<const T>& x, const Matrix<const T>& a, float p) {
    return sizeof(T) == 2 && p > 0 && a.rows <= kMostFusedRank && can_pack<8>(x) && can_pack<8>(a);
}

// ---- what the kernels share

// N of T, 16 bits each, as registers of two.
template <class T, int N>
__device__ Packed<uint32_t, N / 2> register_words(const Packed<T, N>& values) {
    Packed<uint32_t, N / 2> words;
    static_assert(sizeof words == sizeof values);
    memcpy(&words, &values, sizeof words);
    return words;
}
using EightWords = Packed<uint32_t, 4>;  // an Eight as such

// The inverse of pack (mma.cuh).
template <class T>
__device__ Packed<float, 2> unpack(uint32_t pair) {
    T values[2];
    memcpy(static_cast<void*>(values), &pair, sizeof pair);
    return {to_float(values[0]), to_float(values[1])};
}

// Of two registers of two elements: the first ones of both, or the second ones.
__device__ inline uint32_t zip(uint32_t low, uint32_t high, bool second) {
    return __byte_perm(low, high, second ? 0x7632 : 0x5410);
}

// Columns c .. c+7 of row n; zeros beyond the matrix, which can_pack<8>. Indices are ints, which take half the
// registers.
template <class T>
__device__ Eight<T> eight_or_zeros(const Matrix<const T>& m, int n, int c) {
    if (n >= static_cast<int>(m.rows) || c >= static_cast<int>(m.cols)) return {};
    return *reinterpret_cast<const Eight<T>*>(m.row(n) + c);
}

// Eight columns of four rows of x.
struct FourRows {
    EightWords of[4];
};

template <class T>
__device__ FourRows load_rows(const Matrix<const T>& x, int first_row, int row_step, int c) {
    FourRows rows;
#pragma unroll
    for (int i = 0; i < 4; i++) rows.of[i] = register_words(eight_or_zeros(x, first_row + row_step * i, c));
    return rows;
}

// A bit for each of columns c .. c+7 of row n: whether it is kept.
__device__ inline uint32_t kept_bits(const Dropout& dropout, int n, int c) {
    return dropout.p > 0 ? dropout_bits(dropout.stream, n, c, dropout.p) : 0xff;
}

// x becomes D(x).
template <class T>
__device__ void drop(FourRows& rows, const Dropout& dropout, int first_row, int row_step, int c) {
    if (dropout.p == 0) return;
    // A byte for each row, one after the other: all at once would take too many registers.
    uint32_t kept = 0;
#pragma unroll 1
    for (int i = 0; i < 4; i++) kept |= kept_bits(dropout, first_row + row_step * i, c) << (8 * i);
    const float keep_factor = dropout_keep_factor(dropout.p);
    const auto factor = [&](int i) { return kept >> i & 1 ? keep_factor : 0.0f; };
#pragma unroll
    for (int i = 0; i < 16; i++) {
        uint32_t& pair = rows.of[i / 4][i % 4];
        const auto values = unpack<T>(pair);
        pair = pack<T>(values[0] * factor(2 * i), values[1] * factor(2 * i + 1));
    }
}

// Shared memory that sum_of_warps needs for kSums of each lane.
constexpr size_t bytes_of_sums(int threads, int sums) {
    return static_cast<size_t>(threads / 2 * sums) * sizeof(float);
}

// Gives the first warp's lanes the sums over all of the block's 2^k warps, added by halves, in a fixed order.
template <int kSums>
__device__ void sum_of_warps(float* own) {
    const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize, warps = blockDim.x / kWarpSize;
    for (int half = warps / 2; half > 0; half /= 2) {
        float* shared = shared_memory<float>() + warp % half * kSums * kWarpSize + lane;
        if (warp >= half && warp < 2 * half) {
#pragma unroll
            for (int i = 0; i < kSums; i++) shared[i * kWarpSize] = own[i];
        }
        __syncthreads();  // the upper half's sums are there
        if (warp < half) {
#pragma unroll
            for (int i = 0; i < kSums; i++) own[i] += shared[i * kWarpSize];
        }
        __syncthreads();  // and read
    }
}

// Calls launch.operator()<kSteps>() for the fewest steps of 16 that hold the rank.
template <class Launch>
void with_steps_of(int64_t rank, const Dropout& dropout, const Launch& launch) {
    require(dropout.p >= 0.0f && dropout.p < 1.0f, "dropout ", dropout.p, " is not in [0, 1)");
    require(rank <= kMostFusedRank, "the adapters' kernels take ranks of up to ", kMostFusedRank,
            " together, and this one is ", rank);
    if (rank <= 16)
        launch.template operator()<1>();
    else if (rank <= 32)
        launch.template operator()<2>();
    else if (rank <= 48)
        launch.template operator()<3>();
    else
        launch.template operator()<4>();
}

// ---- lora_down

constexpr int kLoraDownThreads = 256;  // at the most; 2^k warps
constexpr int kLoraDownRowTiles = 2;   // of 16 rows, of a block
constexpr int kLoraDownRows = 16 * kLoraDownRowTiles;

// A block has 32 rows and all ranks, and its warps share out the columns, to keep the GPU busy where z is small: warp w
// takes columns 32 w .. 32 w + 31, then those 32 warps further on. Of those a lane of the product wants four pairs of a
// row; here they are its Eight, in two products of 16 columns.
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

// ---- lora_down_dx

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

// ---- lora_down_da

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

// da += the partial sums of all slices, in order; a thread an Eight.
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

// ---- the operators

// Elements of scratch that the three need for `tokens` rows at multiples of 16 bytes, which the arena gives rows of a
// multiple of 8 features: the partial sums of lora_down_da, or dropout(x).
template <class T>
int64_t lora_down_workspace(const Device<T>& device, int64_t tokens, int64_t in_features, int64_t rank, float p) {
    if (sizeof(T) == 2 && p > 0 && rank <= kMostFusedRank && in_features % 8 == 0)
        return lora_down_da_slices(device, tokens, in_features, rank) * rank * in_features *
               static_cast<int64_t>(sizeof(float) / sizeof(T));
    return lora_down_workspace_of_operators(tokens, in_features, p);
}

template <class T>
void lora_down(const Device<T>& device, Matrix<T> z, ConstMatrix<T> x, ConstMatrix<T> a, const Dropout& dropout,
               std::type_identity_t<std::span<T>> scratch) {
    if constexpr (sizeof(T) == 2) {
        if (lora_down_fuses(x, a, dropout.p)) {
            launch_lora_down<T>(device, kLoraDownThreads, z, x, a, dropout);
            return;
        }
    }
    lora_down_of_operators<T>(device, z, x, a, dropout, scratch);
}

template <class T>
void lora_down_dx(const Device<T>& device, Matrix<T> dx, ConstMatrix<T> dz, ConstMatrix<T> a, const Dropout& dropout,
                  std::type_identity_t<std::span<T>> scratch) {
    if constexpr (sizeof(T) == 2) {
        if (lora_down_fuses<T>(dx, a, dropout.p)) {
            launch_lora_down_dx<T>(device, kLoraDownDxThreads, dx, dz, a, dropout);
            return;
        }
    }
    lora_down_dx_of_operators<T>(device, dx, dz, a, dropout, scratch);
}

template <class T>
void lora_down_da(const Device<T>& device, Matrix<float> da, ConstMatrix<T> dz, ConstMatrix<T> x,
                  const Dropout& dropout, std::type_identity_t<std::span<T>> scratch) {
    if constexpr (sizeof(T) == 2) {
        if (dropout.p > 0 && da.rows <= kMostFusedRank && can_pack<8>(x)) {
            require_lora_down_workspace(lora_down_workspace(device, x.rows, x.cols, da.rows, dropout.p),
                                        scratch.size());
            launch_lora_down_da<T>(device, da, dz, x, dropout, reinterpret_cast<float*>(scratch.data()));
            return;
        }
    }
    lora_down_da_of_operators<T>(device, da, dz, x, dropout, scratch);
}

}  // namespace cuda
