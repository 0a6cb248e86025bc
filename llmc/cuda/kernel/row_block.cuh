// How threads share out the rows of a matrix. A thread handles one Eight at a time: eight neighbouring columns, 16
// bytes of a 16-bit type, the widest access to memory.
//
//   with a reduction over the row    one row per block:     for (c = first_column(); c < cols; c += column_step())
//   without                          one Eight per thread:  eight_position(cols), rows one after the other
//
// A block that passes over its row twice keeps it in dynamic shared memory (held_bytes), so that it is read from memory
// once. A thread stores and loads only its own columns there: that needs no barrier.
#pragma once

#include <algorithm>
#include <cstdint>

#include "llmc/core/integers.h"
#include "llmc/cuda/device.cuh"
#include "llmc/cuda/kernel/numeric.cuh"
#include "llmc/cuda/runtime/launch.cuh"

namespace cuda {

template <class T>
using Eight = Packed<T, 8>;

// Whether columns c .. c+7 all exist and are aligned for the widest loads and stores.
template <class T>
__device__ bool whole_and_aligned(const T* row, int64_t c, int64_t cols) {
    return c + 8 <= cols && reinterpret_cast<uintptr_t>(row + c) % Eight<T>::alignment == 0;
}

// Columns c .. c+7 of a row; `beyond` past its end.
template <class T>
__device__ Eight<T> load_eight(const T* row, int64_t c, int64_t cols, std::type_identity_t<T> beyond = T{}) {
    if (whole_and_aligned(row, c, cols)) return *reinterpret_cast<const Eight<T>*>(row + c);
    Eight<T> eight;
#pragma unroll
    for (int k = 0; k < 8; k++) eight[k] = c + k < cols ? row[c + k] : beyond;
    return eight;
}

// Those of columns c .. c+7 that the row has.
template <class T>
__device__ void store_eight(T* row, int64_t c, int64_t cols, const Eight<T>& eight) {
    if (whole_and_aligned(row, c, cols)) {
        *reinterpret_cast<Eight<T>*>(row + c) = eight;
        return;
    }
#pragma unroll
    for (int k = 0; k < 8; k++) {
        if (c + k < cols) row[c + k] = eight[k];
    }
}

// --- one row per block

inline dim3 row_blocks(int64_t rows) {
    return dim3(static_cast<unsigned>(rows));
}

// Two Eights a thread, up to 512 threads: enough loads in flight, and several blocks on a multiprocessor.
inline dim3 row_threads(int64_t cols) {
    const int64_t warps = ceil_div(cols, 2 * 8 * kWarpSize);
    return dim3(static_cast<unsigned>(kWarpSize * std::clamp<int64_t>(warps, 1, 16)));
}

__device__ inline int first_column() {
    return 8 * static_cast<int>(threadIdx.x);
}

__device__ inline int column_step() {
    return 8 * static_cast<int>(blockDim.x);
}

// Whether this lane of a warp, or one before it, has columns at step c of a row of `cols`: a loop that asks this
// instead of c < cols has all lanes of a warp in every step, as their shuffles require.
__device__ inline bool warp_reaches(int c, int cols) {
    return c - 8 * static_cast<int>(threadIdx.x % kWarpSize) < cols;
}

// Shared memory for `cols` elements of a row, in whole Eights.
template <class T>
size_t held_bytes(int64_t cols) {
    return static_cast<size_t>(ceil_div(cols, 8)) * sizeof(Eight<T>);
}

template <class T>
__device__ Eight<T>& held_eight(T* held, int c) {
    return *reinterpret_cast<Eight<T>*>(held + c);
}

// --- one Eight per thread

constexpr int kEightThreads = 256;

inline dim3 eight_blocks(int64_t rows, int64_t cols) {
    const int64_t eights = rows * ceil_div(cols, 8);
    require(eights < (int64_t{1} << 32) - kEightThreads, "a matrix of ", rows, " x ", cols,
            " is more than one kernel handles; use smaller micro-batches");
    return dim3(static_cast<unsigned>(ceil_div(eights, kEightThreads)));
}

struct EightPosition {
    int64_t n, c;  // n >= rows: nothing to do
};

__device__ inline EightPosition eight_position(int64_t cols) {
    const uint32_t eights = static_cast<uint32_t>(ceil_div(cols, 8));
    const uint32_t index = blockIdx.x * kEightThreads + threadIdx.x;
    return {index / eights, int64_t{8} * (index % eights)};
}

}  // namespace cuda
