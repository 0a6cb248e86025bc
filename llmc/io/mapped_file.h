// A file mapped read-only into memory: pages come in when they are read, and can be let go again, so that a checkpoint
// much larger than the memory is read tensor by tensor.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace llmc {

class MappedFile {
  public:
    explicit MappedFile(const std::filesystem::path& path);
    ~MappedFile();
    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;

    const std::filesystem::path& path() const { return path_; }
    std::span<const std::byte> bytes() const { return bytes_; }

    // Tells the kernel that `range`, a part of bytes(), is done with: its pages leave the resident set at once. Reading
    // it again is allowed and costs the disk.
    void release(std::span<const std::byte> range) const;

  private:
    std::filesystem::path path_;
    std::span<const std::byte> bytes_;
};

// A page that cannot be had, because the disk fails or somebody has cut the file short, is a SIGBUS for who reads it.
// From here on it ends the program with status 1 and a sentence that names the file.
void tell_of_lost_pages();

}  // namespace llmc
