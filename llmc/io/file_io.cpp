#include "llmc/io/file_io.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "llmc/core/error.h"
#include "llmc/core/program.h"

namespace llmc {
namespace {

// What to try when a file cannot be written for this reason.
const char* write_advice(int reason) {
    switch (reason) {
        case ENOSPC:
        case EDQUOT:
            return "; free some space or choose another directory";
        case EROFS:
        case EACCES:
        case EPERM:
            return "; make the directory writable or choose another";
        case ENOENT:
            return "; create the directory first";
        default:
            return "";
    }
}

}  // namespace

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

    // The size is only a first guess: a pipe has none.
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
    require(!std::filesystem::exists(path, error) || std::filesystem::is_directory(path, error), path.string(),
            ": is a file, and a directory is wanted here");
    std::filesystem::create_directories(path, error);
    require(!error, path.string(), ": cannot create the directory: ", error.message());
}

bool make_private_directory(const std::filesystem::path& path) {
    if (::mkdir(path.c_str(), 0700) == 0) return true;
    require(errno == EEXIST, path.string(), ": cannot create the directory: ", std::strerror(errno),
            write_advice(errno));
    return false;
}

// Gives it the mode of a new directory inside it: by the umask or the parent's access control list, with the group bit
// that a shared folder hands down.
void publish_directory(const std::filesystem::path& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return;
    struct stat status {};
    const char* probe = ".mode";
    if (::mkdirat(fd, probe, 0777) == 0) {
        // A file system without modes may refuse, and needs none.
        if (::fstatat(fd, probe, &status, AT_SYMLINK_NOFOLLOW) == 0) (void)!::fchmod(fd, status.st_mode & 07777);
        ::unlinkat(fd, probe, AT_REMOVEDIR);
    }
    ::close(fd);
}

void sync_directory(const std::filesystem::path& directory) {
    const std::filesystem::path name = directory.empty() ? "." : directory;
    const int fd = ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    require(fd >= 0, name.string(), ": cannot open the directory: ", std::strerror(errno));
    const int result = ::fsync(fd);
    const int reason = errno;
    ::close(fd);
    // Some network and FUSE file systems cannot fsync a directory; nothing better can be done there.
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
    // O_EXCL: never opens a file, or a link, that somebody else has put there.
    const auto create = [&](mode_t mode) {
        fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        return fd_ >= 0;
    };
    do {
        temporary_ =
            path.parent_path() / concat(".", path.filename().string(), ".", ::getpid(), "-", counter++, ".tmp");
    } while (!create(0666) && errno == EEXIST);
    if (fd_ < 0) fail_writing();
    // An empty probe shows the mode that new files get here. What is written stays private until it is complete.
    struct stat status {};
    if (::fstat(fd_, &status) == 0) mode_ = status.st_mode & 0777;
    ::close(fd_);
    if (::unlink(temporary_.c_str()) != 0) fail_writing();
    create(0600);
    if (fd_ < 0) fail_writing();
}

AtomicFile::~AtomicFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail_writing() const {
    const int reason = errno;
    fail(path_.string(), ": cannot write the file: ", std::strerror(reason), write_advice(reason));
}

void AtomicFile::write(std::span<const std::byte> bytes) {
    if (buffer_.size() + bytes.size() > kBufferSize) flush();
    if (bytes.size() > kBufferSize) return write_through(bytes);
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

void AtomicFile::write_hole(int64_t count) {
    flush();
    const off_t end = ::lseek(fd_, count, SEEK_CUR);
    if (end < 0 || ::ftruncate(fd_, end) != 0) fail_writing();
}

void AtomicFile::flush() {
    write_through(buffer_);
    buffer_.clear();
}

void AtomicFile::write_through(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) fail_writing();
        bytes = bytes.subspan(static_cast<size_t>(count));
    }
}

void AtomicFile::commit() {
    flush();
    (void)!::fchmod(fd_, mode_);  // a file system without modes may refuse, and needs none
    if (::fsync(fd_) != 0) fail_writing();
    if (::close(std::exchange(fd_, -1)) != 0) fail_writing();
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_writing();
    temporary_.clear();
    sync_directory(path_.parent_path());
}

DirectoryLock::DirectoryLock(const std::filesystem::path& directory) : path_(directory / ".lock") {
    while (true) {
        fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
        require(fd_ >= 0, path_.string(), ": cannot create the file that keeps others out: ", std::strerror(errno),
                write_advice(errno));
        // Some network file systems lock nothing; a run on them goes without.
        const bool taken = ::flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
        if (taken) {
            std::array<char, 256> holder{};
            const ssize_t length = ::read(fd_, holder.data(), holder.size());
            ::close(std::exchange(fd_, -1));
            fail(directory.string(), ": another run", length > 0 ? " (" : "",
                 std::string_view(holder.data(), static_cast<size_t>(std::max<ssize_t>(length, 0))),
                 length > 0 ? ")" : "", " is writing there; wait for it, or choose another ", program().output_folder);
        }
        // The previous holder may have removed the file after we opened it; then others no longer see this one.
        struct stat locked {
        }, named{};
        if (::fstat(fd_, &locked) == 0 && ::stat(path_.c_str(), &named) == 0 && locked.st_ino == named.st_ino) break;
        ::close(fd_);
    }
    std::array<char, 128> host{};
    ::gethostname(host.data(), host.size() - 1);
    const std::string holder = concat("process ", ::getpid(), " on ", host.data());
    // On a full disk the lock still holds, but names nobody.
    if (::ftruncate(fd_, 0) == 0) (void)!::pwrite(fd_, holder.data(), holder.size(), 0);
}

DirectoryLock::~DirectoryLock() {
    ::unlink(path_.c_str());
    ::close(fd_);
}

}  // namespace llmc
