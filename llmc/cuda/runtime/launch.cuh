// launch(device, "name", kernel, grid, block, shared_bytes, arguments...): every kernel is started here.
//
// A launch that CUDA refuses becomes an Error naming the kernel and its configuration. A grid of no blocks is no error:
// there is nothing to compute. Under the emulator (LLMC_EMULATED, see test/emu) the same kernels run on the CPU.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "llmc/core/integers.h"
#include "llmc/cuda/device.cuh"
#include "llmc/cuda/runtime/check.cuh"

namespace cuda {

template <class T, class... Parameters, class... Arguments>
void launch(const Device<T>& device, const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            size_t shared_bytes, const Arguments&... arguments) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    const auto check_launch = [&](cudaError_t error) {
        if (error == cudaSuccess) return;
        cudaGetLastError();  // reported here, not again by the next launch
        fail("CUDA kernel ", name, " on a grid of ", grid.x, 'x', grid.y, 'x', grid.z, " blocks of ", block.x, 'x',
             block.y, 'x', block.z, " threads with ", shared_bytes, " bytes of shared memory (GPU ", device.index,
             ", compute capability ", device.sm / 10, '.', device.sm % 10, ") failed: ", cudaGetErrorString(error),
             advice(error));
    };
    // More shared memory than 48 KiB has to be asked for; what a kernel has of fixed size counts too, and is below 4
    // KiB.
    constexpr size_t kGranted = 44 << 10;
    if (shared_bytes > kGranted)
        check_launch(
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)));
#ifdef LLMC_EMULATED
    emu::launch_kernel(name, kernel, grid, block, shared_bytes, arguments...);
#else
    kernel<<<grid, block, shared_bytes, device.stream>>>(arguments...);
#endif
    check_launch(cudaGetLastError());
}

// The block's dynamic shared memory, which begins at a multiple of 128 bytes.
template <class T>
__device__ T* shared_memory() {
#ifdef LLMC_EMULATED
    return static_cast<T*>(emu::shared_memory());
#else
    extern __shared__ __align__(128) unsigned char dynamic_shared_memory[];
    return reinterpret_cast<T*>(dynamic_shared_memory);
#endif
}

}  // namespace cuda
