#include "quaff/cuda_model.cuh"

QUAFF_INSTANTIATE_CUDA(float)
