// Shadows NVIDIA's cuda_runtime.h: everything CUDA C++ has without an include, and the runtime's host functions.
#pragma once

// A kernel is a function like any other; its shared variables are one copy per OS thread, on which a block's threads
// all run. They keep what the block before left there: kernels that read them unwritten differ between schedules.
#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __shared__ static thread_local
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) alignas(bytes)

#include "test/emu/device_functions.h"
#include "test/emu/emulator.h"
#include "test/emu/host_api.h"
#include "test/emu/kernel.h"
#include "test/emu/thread_variables.h"
#include "test/emu/vector_types.h"

namespace emu {

// The dynamic shared memory of the block that runs on this OS thread.
inline void* shared_memory() {
    return Scheduler::of_this_os_thread().shared_memory();
}

}  // namespace emu
