// Shows whether this program has code for the GPU it finds: a kernel that does nothing.
#include "llmc/cuda/runtime/gpu.h"

namespace {

__global__ void nothing_kernel() {}

}  // namespace

cudaError_t cuda::try_kernel() {
    cudaFuncAttributes attributes;
    return cudaFuncGetAttributes(&attributes, nothing_kernel);
}
