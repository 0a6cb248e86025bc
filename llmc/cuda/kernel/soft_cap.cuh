// The soft cap inside kernels: y = cap tanh(x / cap), and its slope (llmc/cuda/soft_cap.cuh).
#pragma once

#include <cmath>

#include "llmc/cuda/device.cuh"

namespace cuda {

struct SoftCap {
    float cap, inverse;

    __device__ explicit SoftCap(float cap) : cap(cap), inverse(1.0f / cap) {}

    __device__ float operator()(float x) const { return cap * tanhf(x * inverse); }
    // dy/dx, from y.
    __device__ float slope(float y) const {
        const float t = y * inverse;
        return fmaf(-t, t, 1.0f);
    }
};

}  // namespace cuda
