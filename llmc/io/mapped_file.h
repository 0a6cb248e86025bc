// A file mapped read-only into memory. Pages are loaded when they are read and can be released again, so that a
// checkpoint much larger than memory can be read tensor by tensor.
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

    // Tells the kernel that `range`, a part of bytes(), is no longer needed: its pages leave the resident set at once.
    // Reading it again is allowed, but goes to the disk.
    void release(std::span<const std::byte> range) const;

  private:
    std::filesystem::path path_;
    std::span<const std::byte> bytes_;
};

// Reading a page that cannot be loaded, because the disk fails or the file was cut short, raises SIGBUS. From here on
// that ends the program with status 1 and a message that names the file.
void tell_of_lost_pages();

}  // namespace llmc
