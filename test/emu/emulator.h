// CUDA on the CPU: kernels, memory and the runtime's host functions, run by the host compiler, so that CUDA code is
// tested where there is no GPU. Test code controls it from here; the code under test includes cuda_runtime.h,
// cuda_bf16.h, cuda_fp16.h, which lie beside this file and shadow NVIDIA's.
//
//   fibre       a stack of its own for each thread of a block
//   scheduler   runs the threads of a block: barriers, warp collectives, three orders
//   kernel      runs the blocks of a grid over the cores
//   memory      device memory: heap with poison inside and guard zones around
//   machine     the devices there are, as tests want them
//   host_api    cudaMalloc, cudaMemcpyAsync, cudaStreamCreate, ...: everything happens at once, in order
//
// What is caught, and how:
//   a missing barrier               results differ between schedules
//   an output nobody wrote          memory is born as poison, NaN in every float format
//   an index out of bounds          guard zones, checked after every kernel; redzones where AddressSanitizer is on
//   a barrier not all threads reach, a shuffle among lanes that do not all take part, or from a lane outside the mask:
//                                   emu::Error, which names the kernel, block, thread and line
//   a host pointer as an argument   emu::Error
//   too large a block, grid or shared memory
//                                   the runtime's own error codes
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "test/emu/host_api.h"

namespace emu {

// A kernel did what CUDA leaves undefined.
class Error : public std::runtime_error {
  public:
    explicit Error(const std::string& message) : std::runtime_error(message) {}
};

// The order in which the blocks of a grid, the warps of a block and the lanes of a warp take turns. A thread runs until
// it must wait, a warp until all its lanes wait at the block's barrier: as far ahead of the others as CUDA allows.
enum class Schedule { forward, reversed, shuffled };
void set_schedule(Schedule schedule, uint64_t seed = 1);

// The emulated machine. Tests change it and reset it with `machine() = {}`.
struct Machine {
    int devices = 8;                  // of one host, so that several ranks have one each
    int major = 8, minor = 0;         // compute capability
    size_t memory = size_t{8} << 30;  // of each device
    int multiprocessors = 4;
    int driver_version = 13000, runtime_version = 13000;  // no driver: 0

    // The n-th call from now of any runtime function (the first is 1) returns this error and does nothing else. If the
    // failure lasts, so do all later calls, as on a lost GPU.
    int failing_call = 0;
    cudaError_t failure = cudaErrorUnknown;
    bool failure_lasts = false;
};
Machine& machine();

// Since the program began: what a training step should avoid, or do once.
struct HostCalls {
    int64_t allocations;  // and releases, of either kind of memory
    int64_t waits;        // for the device: for streams, devices, copies that are not in the background
};
HostCalls host_calls();

// How many kernels have been launched since the program began.
int64_t kernels_launched();

}  // namespace emu
