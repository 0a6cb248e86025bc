#include "test/emu/memory.h"

#include <map>
#include <mutex>
#include <new>

#include "llmc/core/error.h"
#include "test/emu/emulator.h"
#include "test/emu/poisoned_memory.h"

namespace emu {
namespace {

struct Allocation {
    MemoryOwner owner;
    int device;
    PoisonedMemory memory;
    bool overrun_told = false;
};

std::mutex mutex;

std::map<const std::byte*, Allocation>& allocations() {
    static std::map<const std::byte*, Allocation> live;
    return live;
}

// Null where no allocation holds all of [address, address + bytes).
const Allocation* find(const void* address, size_t bytes) {
    const auto* begin = static_cast<const std::byte*>(address);
    auto next = allocations().upper_bound(begin);
    if (next == allocations().begin()) return nullptr;
    const Allocation& allocation = std::prev(next)->second;
    const size_t offset = static_cast<size_t>(begin - allocation.memory.data());
    const size_t size = allocation.memory.size();
    return offset <= size && bytes <= size - offset ? &allocation : nullptr;
}

size_t allocated(int device) {
    size_t sum = 0;
    for (const auto& [address, allocation] : allocations())
        if (allocation.owner == MemoryOwner::device && allocation.device == device) sum += allocation.memory.size();
    return sum;
}

}  // namespace

void* allocate(MemoryOwner owner, int device, size_t bytes) {
    std::lock_guard lock(mutex);
    if (owner == MemoryOwner::device) {
        const size_t used = allocated(device);
        if (used > machine().memory || bytes > machine().memory - used) return nullptr;
    }
    try {
        PoisonedMemory memory(bytes);
        std::byte* address = memory.data();
        allocations().emplace(address, Allocation{owner, device, std::move(memory)});
        return address;
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

bool release(MemoryOwner owner, void* address) {
    std::lock_guard lock(mutex);
    const auto found = allocations().find(static_cast<std::byte*>(address));
    if (found == allocations().end() || found->second.owner != owner) return false;
    allocations().erase(found);
    return true;
}

bool device_accessible(const void* address, size_t bytes) {
    std::lock_guard lock(mutex);
    return find(address, bytes) != nullptr;
}

bool in_device_memory(const void* address, size_t bytes) {
    std::lock_guard lock(mutex);
    const Allocation* allocation = find(address, bytes);
    return allocation && allocation->owner == MemoryOwner::device;
}

size_t allocated_on(int device) {
    std::lock_guard lock(mutex);
    return allocated(device);
}

std::string find_overrun() {
    std::lock_guard lock(mutex);
    for (auto& [address, allocation] : allocations()) {
        const auto byte = allocation.overrun_told ? std::nullopt : allocation.memory.overrun();
        if (!byte) continue;
        allocation.overrun_told = true;
        return llmc::concat("wrote byte ", *byte, " of an allocation of ", allocation.memory.size(), " bytes");
    }
    return {};
}

}  // namespace emu
