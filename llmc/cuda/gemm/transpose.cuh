// The transpose of an int8 matrix: the backward GEMM wants the frozen weight with its outputs next to each other.
//
//   out[i,o] = wq[o,i]                out [I.., O..]: rows as long as its stride; 0 beyond wq's elements
//
// A block transposes a tile of 128 x 128 bytes. A thread loads 4 x 4 of them as four words, transposes them in
// registers, and puts them into shared memory as the four words of the transpose, from where whole rows of 128 bytes
// leave. Word w of row i lies at w ^ (i / 4): the threads of a warp write 32 rows apart by 4, and read one row, both
// without bank conflicts.
#pragma once

#include "llmc/core/integers.h"
#include "llmc/cuda/kernel/row_block.cuh"

namespace cuda {

constexpr int kTransposeTile = 128;
constexpr int kTransposeWords = kTransposeTile / 4;
constexpr int kTransposeWarps = 8;

// Bytes c .. c+3 of a row of `cols`, the first lowest; 0 past its end.
__device__ inline uint32_t load_four(const int8_t* row, int64_t c, int64_t cols) {
    if (c + 4 <= cols && reinterpret_cast<uintptr_t>(row + c) % 4 == 0)
        return *reinterpret_cast<const uint32_t*>(row + c);
    uint32_t word = 0;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        if (c + k < cols) word |= static_cast<uint32_t>(static_cast<uint8_t>(row[c + k])) << (8 * k);
    }
    return word;
}

__device__ inline void store_four(int8_t* row, int64_t c, int64_t cols, uint32_t word) {
    if (c + 4 <= cols && reinterpret_cast<uintptr_t>(row + c) % 4 == 0) {
        *reinterpret_cast<uint32_t*>(row + c) = word;
        return;
    }
#pragma unroll
    for (int k = 0; k < 4; k++) {
        if (c + k < cols) row[c + k] = static_cast<int8_t>(word >> (8 * k));
    }
}

template <class Byte>
__global__ void transpose_int8_kernel(Matrix<Byte> out, Matrix<const Byte> wq) {
    __shared__ uint32_t tile[kTransposeTile][kTransposeWords];  // [i][o / 4]
    const int64_t i0 = int64_t{blockIdx.x} * kTransposeTile, o0 = int64_t{blockIdx.y} * kTransposeTile;
    const int lane = static_cast<int>(threadIdx.x), warp = static_cast<int>(threadIdx.y);

#pragma unroll
    for (int w = warp; w < kTransposeWords; w += kTransposeWarps) {
        uint32_t rows[4];  // byte k of rows[j] is wq[o0 + 4 w + j, i0 + 4 lane + k]
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int64_t o = o0 + 4 * w + j;
            rows[j] = o < wq.rows ? load_four(wq.row(o), i0 + 4 * lane, wq.cols) : 0;
        }
#pragma unroll
        for (int k = 0; k < 4; k++) {
            uint32_t column = 0;
#pragma unroll
            for (int j = 0; j < 4; j++) column |= (rows[j] >> (8 * k) & 0xff) << (8 * j);
            tile[4 * lane + k][w ^ lane] = column;
        }
    }
    __syncthreads();
#pragma unroll
    for (int i = warp; i < kTransposeTile; i += kTransposeWarps) {
        if (i0 + i < out.rows) store_four(out.row(i0 + i), o0 + 4 * lane, out.stride, tile[i][lane ^ (i / 4)]);
    }
}

template <class T>
void transpose_int8(const Device<T>& device, Matrix<int8_t> out, Matrix<const int8_t> wq) {
    const auto tiles = [](int64_t n) { return static_cast<unsigned>(ceil_div(n, kTransposeTile)); };
    launch(device, "transpose_int8", transpose_int8_kernel<int8_t>, dim3(tiles(out.rows), tiles(out.stride)),
           dim3(32, kTransposeWarps), 0, out, wq);
}

}  // namespace cuda
