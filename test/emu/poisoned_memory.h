// A piece of memory that is born as poison and knows when something wrote past its ends.
//
// Poison is 0xff in every byte: NaN in fp32, fp16 and bf16, -1 in every integer. In front of the memory and behind it
// lie guard zones of the same; AddressSanitizer, where it is on, reports the access to them itself.
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

    // The byte outside the memory, counted from its start, that was found written: negative in front, size() or more
    // behind. None where both guard zones are intact.
    std::optional<int64_t> overrun() const;

  private:
    std::byte* data_ = nullptr;
    size_t size_ = 0;
};

}  // namespace emu
