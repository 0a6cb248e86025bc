#include "test/emu/poisoned_memory.h"

#include <cstring>
#include <new>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)
#define ASAN_UNPOISON_MEMORY_REGION(address, size)
#endif

namespace emu {
namespace {

constexpr size_t kGuard = 256;
constexpr std::align_val_t kAlignment{256};  // as cudaMalloc's

}  // namespace

PoisonedMemory::PoisonedMemory(size_t bytes) : size_(bytes) {
    auto* block = static_cast<std::byte*>(::operator new(bytes + 2 * kGuard, kAlignment));
    std::memset(block, kPoison, bytes + 2 * kGuard);
    data_ = block + kGuard;
    ASAN_POISON_MEMORY_REGION(block, kGuard);
    ASAN_POISON_MEMORY_REGION(data_ + bytes, kGuard);
}

PoisonedMemory::PoisonedMemory(PoisonedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

PoisonedMemory& PoisonedMemory::operator=(PoisonedMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

PoisonedMemory::~PoisonedMemory() {
    if (!data_) return;
    std::byte* block = data_ - kGuard;
    ASAN_UNPOISON_MEMORY_REGION(block, size_ + 2 * kGuard);
    ::operator delete(block, kAlignment);
}

void PoisonedMemory::poison() {
    if (size_ > 0) std::memset(data_, kPoison, size_);
}

std::optional<int64_t> PoisonedMemory::overrun() const {
#if !defined(__SANITIZE_ADDRESS__)
    const auto size = static_cast<int64_t>(size_), guard = static_cast<int64_t>(kGuard);
    for (int64_t i = 0; data_ && i < guard; i++) {
        if (data_[size + i] != std::byte{kPoison}) return size + i;
        if (data_[-1 - i] != std::byte{kPoison}) return -1 - i;
    }
#endif
    return std::nullopt;
}

}  // namespace emu
