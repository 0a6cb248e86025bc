#include "quaff/model/cuda/model.cuh"

QUAFF_INSTANTIATE_CUDA(cuda::bf16)
