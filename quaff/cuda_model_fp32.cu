#include "quaff/cuda_model.cuh"

QUAFF_INSTANTIATE_CUDA(float)

cudaError_t cuda::try_kernel() {
    cudaFuncAttributes attributes;
    return cudaFuncGetAttributes(&attributes, set_zero_kernel<float>);
}
