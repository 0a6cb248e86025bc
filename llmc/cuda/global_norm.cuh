// The Euclidean norm of a flat buffer, for gradient clipping.
//
// kNormBlocks partial sums in double over the same elements, added in the same order: the same bits on any GPU. They
// lie in a workspace of global_norm_workspace() doubles that the caller planned, so that a step allocates nothing. The
// norm ends up in its first element and comes to the host as one number.
#pragma once

#include <span>

#include "llmc/cuda/kernel/row_block.cuh"

namespace cuda {

constexpr int kNormBlocks = 512;
constexpr int kNormThreads = 256;

template <class T>
__global__ void square_sums_kernel(double* partial, const T* x, int64_t count) {
    double sum = 0;
    const int64_t step = int64_t{8} * kNormBlocks * kNormThreads;
    for (int64_t i = int64_t{8} * (blockIdx.x * kNormThreads + threadIdx.x); i < count; i += step) {
        const Eight<T> eight = load_eight(x, i, count);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            const double value = static_cast<double>(to_float(eight[k]));
            sum = fma(value, value, sum);
        }
    }
    sum = block_sum_in_double<kNormThreads>(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// One block of kNormBlocks threads.
template <class Double>
__global__ void root_of_sum_kernel(Double* partial) {
    const double sum = block_sum_in_double<kNormBlocks>(partial[threadIdx.x]);
    if (threadIdx.x == 0) partial[0] = sqrt(sum);
}

template <class D>
constexpr int64_t global_norm_workspace(const Device<D>&) {
    return kNormBlocks;
}

// Waits for all work on the device's stream: the host needs the number.
template <class T, class D>
double global_norm(const Device<D>& device, std::span<T> x, std::span<double> workspace) {
    require(static_cast<int64_t>(workspace.size()) >= global_norm_workspace(device), "the norm needs a workspace of ",
            global_norm_workspace(device), " elements and got ", workspace.size());
    launch(device, "global_norm", square_sums_kernel<std::remove_const_t<T>>, kNormBlocks, kNormThreads, 0,
           workspace.data(), x.data(), static_cast<int64_t>(x.size()));
    launch(device, "global_norm", root_of_sum_kernel<double>, 1, kNormBlocks, 0, workspace.data());
    double norm = 0;
    CUDA_CHECK(cudaMemcpyAsync(&norm, workspace.data(), sizeof norm, cudaMemcpyDeviceToHost, device.stream));
    CUDA_CHECK(cudaStreamSynchronize(device.stream));
    return norm;
}

}  // namespace cuda
