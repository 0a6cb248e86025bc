// Memory that is handed out piece by piece and freed as a whole. What lives in it needs no destructor.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace llmc::jinja {

class Arena {
  public:
    // Refuses to hold more than `limit` bytes.
    explicit Arena(size_t limit) : limit_(limit) {}

    // nullptr when the limit is reached. `alignment` is at most that of std::max_align_t.
    void* allocate(size_t size, size_t alignment);

    // Gives `more` bytes to the piece that was handed out last, when it ends at `end` and there is room behind it.
    bool extend(const char* end, size_t more);

  private:
    bool add_chunk(size_t least);

    size_t limit_, total_ = 0;
    std::vector<std::unique_ptr<std::byte[]>> chunks_;
    std::byte* cursor_ = nullptr;
    std::byte* chunk_end_ = nullptr;
};

}  // namespace llmc::jinja
