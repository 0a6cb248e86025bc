#include "llmc/jinja/values/arena.h"

#include <algorithm>
#include <cstdint>

namespace llmc::jinja {
namespace {

constexpr size_t kFirstChunk = 16 << 10;
constexpr size_t kLargestChunk = 4 << 20;  // of those that grow by themselves; a long text gets its own

}  // namespace

void* Arena::allocate(size_t size, size_t alignment) {
    const auto padding = [&] { return (alignment - reinterpret_cast<uintptr_t>(cursor_) % alignment) % alignment; };
    if (size > limit_) return nullptr;
    if (!cursor_ || static_cast<size_t>(chunk_end_ - cursor_) < size + padding()) {
        // Twice the size: a text that grows by pieces is then moved seldom.
        if (!add_chunk(2 * size + alignment) && !add_chunk(size + alignment)) return nullptr;
    }
    std::byte* piece = cursor_ + padding();
    cursor_ = piece + size;
    return piece;
}

bool Arena::extend(const char* end, size_t more) {
    if (reinterpret_cast<const std::byte*>(end) != cursor_ || static_cast<size_t>(chunk_end_ - cursor_) < more)
        return false;
    cursor_ += more;
    return true;
}

bool Arena::add_chunk(size_t least) {
    const size_t grown = std::clamp(total_, kFirstChunk, kLargestChunk);
    const size_t size = std::max(least, std::min(grown, limit_ - total_));
    if (size > limit_ - total_) return false;
    chunks_.push_back(std::make_unique_for_overwrite<std::byte[]>(size));
    total_ += size;
    cursor_ = chunks_.back().get();
    chunk_end_ = cursor_ + size;
    return true;
}

}  // namespace llmc::jinja
