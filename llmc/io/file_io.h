// Reads and writes whole files. A written file appears complete or not at all, even if the power fails: the bytes go to
// a temporary file in the same directory, which is fsynced and renamed over the name; the directory is fsynced last.
// Until then only the user may read the file; then it gets the mode of any new file.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llmc {

// The file's bytes. `max_bytes` keeps a mistaken path (a disk image, /dev/zero) from filling memory.
std::string read_file(const std::filesystem::path& path, int64_t max_bytes = int64_t{1} << 30);

// Throws Error if `content` is a Git LFS pointer, which a clone without git-lfs has in place of a large file.
void refuse_lfs_pointer(const std::filesystem::path& path, std::string_view content);

// Creates the directory and its missing parents.
void make_directories(const std::filesystem::path& path);

// Creates a directory that only the user may enter, until publish_directory() gives it the mode of any new directory.
// Returns false if the name is taken.
bool make_private_directory(const std::filesystem::path& path);
void publish_directory(const std::filesystem::path& path);

// Makes a rename or a new entry in the directory survive a power failure.
void sync_directory(const std::filesystem::path& directory);

void write_file_atomically(const std::filesystem::path& path, std::string_view content);

// The same for content produced piece by piece. Without commit() nothing is left behind.
class AtomicFile {
  public:
    explicit AtomicFile(const std::filesystem::path& path);
    ~AtomicFile();
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;

    void write(std::span<const std::byte> bytes);
    void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
    // `count` zero bytes, left as a hole: they take no room on a disk whose file system knows holes.
    void write_hole(int64_t count);
    void commit();

  private:
    static constexpr size_t kBufferSize = size_t{1} << 18;

    void write_through(std::span<const std::byte> bytes);
    void flush();
    [[noreturn]] void fail_writing() const;  // with the reason in errno

    std::filesystem::path path_;
    std::filesystem::path temporary_;
    std::vector<std::byte> buffer_;  // small pieces, to be written in large ones
    int fd_ = -1;
    mode_t mode_ = 0600;  // of the finished file
};

// Keeps a directory to one writer at a time, by a lock on its file .lock, which names the process that holds it. The
// kernel releases the lock when the process ends, however it ends, so a leftover file locks nobody out.
class DirectoryLock {
  public:
    // Throws Error if somebody else holds it, in this process or another.
    explicit DirectoryLock(const std::filesystem::path& directory);
    ~DirectoryLock();
    DirectoryLock(const DirectoryLock&) = delete;
    DirectoryLock& operator=(const DirectoryLock&) = delete;

  private:
    std::filesystem::path path_;
    int fd_ = -1;
};

}  // namespace llmc
