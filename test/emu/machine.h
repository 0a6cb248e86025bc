// The emulated devices' limits, by compute capability, and the runtime's last error.
#pragma once

#include "test/emu/emulator.h"

namespace emu {

constexpr size_t kDefaultSharedBytes = 48 << 10;  // what a kernel gets without asking

// Shared memory a block may ask for with cudaFuncSetAttribute. CUDA C++ Programming Guide, "Technical Specifications
// per Compute Capability".
size_t shared_memory_per_block_optin();

// How much the kernel asked for.
size_t shared_memory_allowed(const void* kernel);
// Notes the error of a runtime function, for cudaGetLastError.
cudaError_t report(cudaError_t error);

}  // namespace emu
