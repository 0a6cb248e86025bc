// CUDA_CHECK(call): every call of the CUDA runtime goes through it. A failure becomes an Error that names the call and
// its place, says what CUDA says and, if the user can do something about it, what.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "llmc/core/error.h"
#include "llmc/core/program.h"

namespace cuda {

// What the user can do about the error; empty if only a programmer can do something.
inline std::string advice(cudaError_t error) {
    switch (error) {
        case cudaErrorMemoryAllocation:
            return llmc::concat("; ", llmc::program().save_gpu_memory);
        case cudaErrorNoDevice:
            return llmc::concat("; nvidia-smi shows which GPUs the driver sees; without one, ",
                                llmc::program().use_cpu);
        case cudaErrorInsufficientDriver:
            return llmc::concat("; update the NVIDIA driver, or ", llmc::program().use_cpu);
        case cudaErrorNoKernelImageForDevice:
        case cudaErrorInvalidDeviceFunction:
        case cudaErrorUnsupportedPtxVersion:
            return "; this program was built for other GPUs: build it again on this machine, or with GPU_ARCHS= naming "
                   "this GPU's compute capability (nvidia-smi --query-gpu=compute_cap --format=csv)";
        case cudaErrorECCUncorrectable:
        case cudaErrorIllegalAddress:
        case cudaErrorLaunchFailure:
        case cudaErrorUnknown:
            return "; this process can no longer use the GPU: start it again, and look for errors of the GPU with "
                   "dmesg | grep Xid";
        default:
            return "";
    }
}

inline void check(cudaError_t error, const char* call, const char* file, int line) {
    if (error == cudaSuccess) return;
    cudaGetLastError();  // reported here, not again by the next launch
    llmc::fail(call, " failed: ", cudaGetErrorString(error), " (", cudaGetErrorName(error), ", ", file, ':', line, ')',
               advice(error));
}

}  // namespace cuda

#define CUDA_CHECK(call) ::cuda::check((call), #call, __FILE__, __LINE__)
