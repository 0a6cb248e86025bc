// Device memory and pinned host memory: which allocations live, on which device, and whether anything wrote outside.
#pragma once

#include <cstddef>
#include <string>

namespace emu {

enum class MemoryOwner { device, pinned_host };

// Null if the device does not have `bytes` left.
void* allocate(MemoryOwner owner, int device, size_t bytes);
// False when no such allocation starts at `address`.
bool release(MemoryOwner owner, void* address);
// True when all of [address, address + bytes) lies in one live allocation that a kernel may use.
bool device_accessible(const void* address, size_t bytes);
// True when it lies in device memory proper.
bool in_device_memory(const void* address, size_t bytes);
size_t allocated_on(int device);
// A write outside an allocation that no earlier call reported, or "": "wrote byte 32 of an allocation of 32 bytes".
std::string find_overrun();

}  // namespace emu
