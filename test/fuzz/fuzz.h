// What the harnesses share. Each hands libFuzzer's bytes to a reader as the file they would be, in a private folder:
//
//   the reader returns, or throws llmc::Error      fine: the input was read or refused
//   any other exception, a signal, a sanitizer     a finding
//   peak of the heap > kFloor + kMultiple * size   a finding: no small file may ask for much memory
//
// A finding goes to test/fuzz/findings/<harness>/ once it is fixed, and is replayed from there for good.
#pragma once

#include <sanitizer/allocator_interface.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "llmc/core/error.h"
#include "test/files.h"

namespace fuzz {

// What every reading may take, half of it the buffer for checksums, and what each byte may take: an empty JSON list,
// "[]," in a file, is 40 bytes of tree, and half as much again while the list around it grows.
constexpr int64_t kFloor = 1 << 20;
constexpr int64_t kMultiple = 64;

// Bytes of the heap in use now and at most, counted by the allocator's own hooks.
inline std::atomic<int64_t> in_use{0}, peak{0};

inline void on_malloc(const volatile void*, size_t size) {
    const int64_t now = in_use += static_cast<int64_t>(size);
    if (now > peak) peak = now;
}

inline void on_free(const volatile void* pointer) {
    if (pointer) in_use -= static_cast<int64_t>(__sanitizer_get_allocated_size(const_cast<const void*>(pointer)));
}

// In memory if the system has such a place.
struct Folder : test::TempDir {
    Folder()
        : TempDir(std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : std::filesystem::temp_directory_path()) {}
};

// Runs `read` on an input of `size` bytes that is in its place.
template <class Read>
int check(size_t size, Read&& read) {
    static const int hooked = __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
    if (hooked == 0) std::abort();
// OpenMP's own memory is not the reader's: it is there before anything is counted.
#pragma omp parallel
    {}
    const int64_t before = in_use;
    peak = before;
    try {
        read();
    } catch (const llmc::Error&) {
        // An error message for the user: as it should be.
    }
    const int64_t taken = peak - before, allowed = kFloor + kMultiple * static_cast<int64_t>(size);
    if (taken > allowed) {
        std::fprintf(stderr, "an input of %zu bytes took %lld bytes of memory, more than %lld\n", size,
                     static_cast<long long>(taken), static_cast<long long>(allowed));
        std::abort();
    }
    return 0;
}

inline std::string_view text_of(const uint8_t* data, size_t size) {
    return {reinterpret_cast<const char*>(data), size};
}

}  // namespace fuzz
