#include "llmc/file_io.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "llmc/error.h"

namespace llmc {

std::string read_file(const std::filesystem::path& path, int64_t max_bytes) {
    struct Descriptor {
        int fd;
        ~Descriptor() {
            if (fd >= 0) ::close(fd);
        }
    } file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    require(file.fd >= 0, path.string(), ": cannot open the file: ", std::strerror(errno));
    struct stat status {};
    require(::fstat(file.fd, &status) == 0, path.string(), ": cannot read the file's size: ", std::strerror(errno));
    require(!S_ISDIR(status.st_mode), path.string(), ": is a directory, a file is needed");

    // The size is a first guess only: a pipe has none.
    std::string content;
    size_t used = 0;
    content.resize(static_cast<size_t>(std::clamp<int64_t>(status.st_size + 1, 4096, max_bytes + 1)));
    while (true) {
        const ssize_t count = ::read(file.fd, content.data() + used, content.size() - used);
        if (count < 0 && errno == EINTR) continue;
        require(count >= 0, path.string(), ": cannot read the file: ", std::strerror(errno));
        if (count == 0) break;
        used += static_cast<size_t>(count);
        require(static_cast<int64_t>(used) <= max_bytes, path.string(), ": is larger than ", max_bytes,
                " bytes, which is more than a file of this kind can be");
        if (used == content.size()) content.resize(2 * used);
    }
    content.resize(used);
    return content;
}

void refuse_lfs_pointer(const std::filesystem::path& path, std::string_view content) {
    require(!content.starts_with("version https://git-lfs"), path.string(),
            ": is a Git LFS pointer, not the file itself; run git lfs pull in its folder");
}

void make_directories(const std::filesystem::path& path) {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    require(!error, path.string(), ": cannot create the directory: ", error.message());
    require(std::filesystem::is_directory(path, error), path.string(), ": exists and is not a directory");
}

void sync_directory(const std::filesystem::path& directory) {
    const std::filesystem::path name = directory.empty() ? "." : directory;
    const int fd = ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    require(fd >= 0, name.string(), ": cannot open the directory: ", std::strerror(errno));
    const int result = ::fsync(fd);
    const int reason = errno;
    ::close(fd);
    // Some network and FUSE file systems cannot fsync a directory; there is nothing better to do on them.
    require(result == 0 || reason == EINVAL || reason == ENOTSUP, name.string(),
            ": cannot flush the directory to disk: ", std::strerror(reason));
}

void write_file_atomically(const std::filesystem::path& path, std::string_view content) {
    AtomicFile file(path);
    file.write(content);
    file.commit();
}

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(path) {
    static std::atomic<int> counter{0};  // with the process id: unique among everyone writing to this directory
    // O_EXCL: never a file, nor a link to one, that somebody else has put there.
    do {
        temporary_ =
            path.parent_path() / concat(".", path.filename().string(), ".", ::getpid(), "-", counter++, ".tmp");
        fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (fd_ < 0 && errno == EEXIST);
    if (fd_ < 0) fail_writing();
}

AtomicFile::~AtomicFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail_writing() const {
    const int reason = errno;
    const char* advice = reason == ENOSPC || reason == EDQUOT ? "; free some space or choose another directory"
                         : reason == ENOENT                   ? "; create the directory first"
                                                              : "";
    fail(path_.string(), ": cannot write the file: ", std::strerror(reason), advice);
}

void AtomicFile::write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) fail_writing();
        bytes = bytes.subspan(static_cast<size_t>(count));
    }
}

void AtomicFile::commit() {
    if (::fsync(fd_) != 0) fail_writing();
    if (::close(std::exchange(fd_, -1)) != 0) fail_writing();
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_writing();
    temporary_.clear();
    sync_directory(path_.parent_path());
}

DirectoryLock::DirectoryLock(const std::filesystem::path& directory)
    : fd_(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    require(fd_ >= 0, directory.string(), ": cannot open the directory: ", std::strerror(errno));
    // Some network file systems lock no directories; on them a run goes without.
    if (::flock(fd_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
    ::close(fd_);
    fail(directory.string(), ": another run is writing there; wait for it, or choose another --out");
}

DirectoryLock::~DirectoryLock() {
    ::close(fd_);
}

}  // namespace llmc
