// The variables every kernel reads. The scheduler sets them before it continues a thread.
#pragma once

#include "test/emu/vector_types.h"

inline constinit thread_local uint3 threadIdx{};
inline constinit thread_local uint3 blockIdx{};
inline constinit thread_local dim3 blockDim{};
inline constinit thread_local dim3 gridDim{};
constexpr int warpSize = 32;
