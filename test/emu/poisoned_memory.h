// Memory that starts as poison and knows if something wrote past its ends.
//
// Poison is 0xff in every byte: NaN in fp32, fp16 and bf16, -1 in every integer. Guard zones of poison lie
// before and after the memory; AddressSanitizer, if it is on, reports accesses to them itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace emu {

constexpr unsigned char kPoison = 0xff;

class PoisonedMemory {
  public:
    PoisonedMemory() = default;
    explicit PoisonedMemory(size_t bytes);  // throws std::bad_alloc
    PoisonedMemory(PoisonedMemory&& other) noexcept;
    PoisonedMemory& operator=(PoisonedMemory&& other) noexcept;
    ~PoisonedMemory();

    std::byte* data() const { return data_; }
    size_t size() const { return size_; }
    // Fills it with poison again.
    void poison();

    // A byte outside the memory that has been written, counted from its start: negative before it, size() or more after
    // it. None if both guard zones are intact.
    std::optional<int64_t> overrun() const;

  private:
    std::byte* data_ = nullptr;
    size_t size_ = 0;
};

}  // namespace emu
