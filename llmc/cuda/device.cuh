// cuda::Device<T>: what the model is templated on to run on a GPU. Every operator takes one first, so that a call in
// the model, `rmsnorm_forward(device, ...)`, finds the operators of the right device by its argument alone.
//
// T is the type of activations, outlier rows and head: bf16 from compute capability 8.0 on, fp16 before, or float to
// verify. Arithmetic is fp32 inside every kernel.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <string>
#include <type_traits>

#include "llmc/comm/comm.h"
#include "llmc/core/arena.h"
#include "llmc/core/error.h"
#include "llmc/core/program.h"
#include "llmc/core/tensor.h"
#include "llmc/cuda/runtime/check.cuh"

namespace llmc {

template <>
constexpr const char* type_name<__nv_bfloat16>() {
    return "bf16";
}
template <>
constexpr const char* type_name<__half>() {
    return "fp16";
}

}  // namespace llmc

namespace cuda {

using namespace llmc;

using bf16 = __nv_bfloat16;
using fp16 = __half;
class BlasLt;        // cublaslt.cuh
class InputStaging;  // input_staging.cuh

template <class T>
struct Device {
    static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, fp16> || std::is_same_v<T, float>);
    using compute_t = T;
    using InputStaging = cuda::InputStaging;
    static constexpr const char* name = "cuda";
    static constexpr bool scales_loss = std::is_same_v<T, fp16>;  // loss_scale.h
    static constexpr bool rehearses = true;                       // times its products before the first step (gpu.h)
    static constexpr bool keeps_stored_types = false;             // all weights are T

    static constexpr const char* compute_name() {
        return std::is_same_v<T, bf16> ? "bf16" : std::is_same_v<T, fp16> ? "fp16" : "fp32";
    }

    int index = 0;
    cudaStream_t stream = nullptr;       // the work of all operators, in order
    BlasLt* blas = nullptr;              // the library of the GEMMs; whoever makes the device owns it
    Comm* comm = &single_process();      // the ranks that train together
    int sm = 0;                          // compute capability: 75 for 7.5
    int multiprocessors = 0;             // how many blocks run at once, at the least
    int64_t l2_bytes = 0;                // what a kernel can read fast of what the one before wrote
    int64_t shared_bytes_per_block = 0;  // the most dynamic shared memory a kernel may ask for
    int64_t free_at_first = 0;           // bytes that could be allocated once the device was set up

    // The index-th GPU, made the current one of the calling thread.
    explicit Device(int index = 0) : index(index) {
        const auto attribute = [&](cudaDeviceAttr which) {
            int value = 0;
            CUDA_CHECK(cudaDeviceGetAttribute(&value, which, index));
            return value;
        };
        CUDA_CHECK(cudaSetDevice(index));
        sm = 10 * attribute(cudaDevAttrComputeCapabilityMajor) + attribute(cudaDevAttrComputeCapabilityMinor);
        multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
        l2_bytes = attribute(cudaDevAttrL2CacheSize);
        shared_bytes_per_block = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
        require(sm >= 75, "GPU ", index, " has compute capability ", sm / 10, '.', sm % 10,
                "; int8 tensor cores begin with 7.5 (RTX 20, T4); ", program().use_cpu);
        require(sm >= 80 || !std::is_same_v<T, bf16>, "GPU ", index, " has compute capability ", sm / 10, '.', sm % 10,
                "; bf16 begins with 8.0; ", program().use_fp16);
        free_at_first = available_memory();
    }

    // Zeroed; null if there is no memory.
    void* allocate(int64_t bytes) const {
        void* block = nullptr;
        const cudaError_t error = cudaMalloc(&block, static_cast<size_t>(bytes));
        if (error == cudaErrorMemoryAllocation) {
            cudaGetLastError();  // the null pointer reports it; the next launch must not
            return nullptr;
        }
        CUDA_CHECK(error);
        CUDA_CHECK(cudaMemsetAsync(block, 0, static_cast<size_t>(bytes), stream));
        return block;
    }
    // Waits for the GPU, as cudaFree does. An error here belongs to earlier work, and the next call reports it.
    void release(void* block, int64_t) const { cudaFree(block); }

    // For messages: "NVIDIA H200 (GPU 0)".
    std::string describe() const {
        cudaDeviceProp properties{};
        CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
        return concat(properties.name, " (GPU ", index, ")");
    }
    // Bytes that can still be allocated.
    int64_t available_memory() const {
        size_t free = 0, total = 0;
        CUDA_CHECK(cudaMemGetInfo(&free, &total));
        return static_cast<int64_t>(free);
    }
    // Bytes of GPU memory taken since the device was set up: what the plan asked for, because a run gives nothing back.
    // CUDA's own context, some hundreds of MB, and cuBLASLt's workspace were taken before.
    int64_t peak_memory() const { return free_at_first - available_memory(); }
    // Waits until all work so far is done.
    void synchronize() const { CUDA_CHECK(cudaStreamSynchronize(stream)); }
};

// The same device in each case, for its compute type is the program's choice of a Device.
template <class T>
const Device<T>& for_gradients(const Device<T>& device) {
    return device;
}
template <class T>
const Device<T>& with_one_type(const Device<T>& device) {
    return device;
}
template <class T>
const Device<T>& full_precision(const Device<T>& device) {
    return device;
}

}  // namespace cuda
