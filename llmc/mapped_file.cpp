#include "llmc/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "llmc/error.h"

namespace llmc {

namespace {

struct FileDescriptor {
    int fd;
    ~FileDescriptor() {
        if (fd >= 0) ::close(fd);
    }
};

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
    const FileDescriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    require(file.fd >= 0, path.string(), ": cannot open the file: ", std::strerror(errno));
    struct stat status {};
    require(::fstat(file.fd, &status) == 0, path.string(), ": cannot read the file's size: ", std::strerror(errno));
    require(S_ISREG(status.st_mode), path.string(), ": is not a regular file");
    if (status.st_size == 0) return;  // mmap refuses an empty range
    const auto size = static_cast<size_t>(status.st_size);
    void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
    require(memory != MAP_FAILED, path.string(), ": cannot map the file into memory: ", std::strerror(errno));
    bytes_ = {static_cast<const std::byte*>(memory), size};
}

MappedFile::~MappedFile() {
    if (bytes_.data() != nullptr) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

void MappedFile::release(std::span<const std::byte> range) const {
    // Whole pages only, and none that is shared with a neighbouring tensor.
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    const auto begin = static_cast<size_t>(range.data() - bytes_.data());
    const size_t first = (begin + page - 1) / page * page;
    const size_t last = (begin + range.size()) / page * page;
    // Only a hint: whether it succeeds changes the memory in use, not a result.
    if (first < last) ::madvise(const_cast<std::byte*>(bytes_.data()) + first, last - first, MADV_DONTNEED);
}

}  // namespace llmc
