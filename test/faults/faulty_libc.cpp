// A C library whose file operations go wrong on demand, for LD_PRELOAD. Every operation below FAULTS_UNDER is counted;
// the one that FAULTS_AT names (from 1) goes wrong as FAULTS_KIND says:
//
//   eio, enospc   it fails with this error
//   full, quota   it and all later ones that take room fail: the disk's, the user's
//   lost          it and all later ones that change the folder fail: no permission
//   readonly      it and all later ones that write or change the folder fail: a read-only file system
//   short         a write takes half of its bytes
//   kill          the process is killed (SIGKILL) before it
//   torn          a write takes half of its bytes, then the process is killed
//   power         the process is killed and what was not fsynced is lost: files shrink to their size at the last fsync
//   signal N      the process gets signal N before it; "signal N N" twice
//
// The monotonic clock advances ten milliseconds every time it is read: the program's measurement of its peak takes four
// readings, not the 0.2 s that would be most of a tiny run.
//
// The letters of all operations, in order, are in the file FAULTS_TRACE when the process exits: o open, w write, s
// fsync, m mkdir, r rename, u unlink. Renames that were not followed by an fsync of their folder are not undone.
#include <dlfcn.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <sstream>
#include <string>

namespace {

template <class Function>
Function* real(const char* name) {
    return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

std::string setting(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

struct Faults {
    const std::string under = setting("FAULTS_UNDER"), kind = setting("FAULTS_KIND"),
                      trace_file = setting("FAULTS_TRACE");
    const size_t at = static_cast<size_t>(std::atoll(setting("FAULTS_AT").c_str()));
    const pid_t process = ::getpid();
    std::string trace;
    std::map<ino_t, off_t> synced;  // of the files that were written: their size at the last fsync
    std::recursive_mutex mutex;

    ~Faults() {
        if (trace_file.empty() || ::getpid() != process) return;
        const int fd = real<int(const char*, int, ...)>("open")(trace_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd < 0) return;
        (void)!real<ssize_t(int, const void*, size_t)>("write")(fd, trace.data(), trace.size());
        ::close(fd);
    }

    bool covers(const std::string& path) const { return !under.empty() && path.compare(0, under.size(), under) == 0; }
};

Faults& faults() {
    static Faults instance;
    return instance;
}

std::string path_of(int fd) {
    char path[PATH_MAX];
    const ssize_t length = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof path);
    return length > 0 ? std::string(path, static_cast<size_t>(length)) : "";
}

std::string path_at(int folder, const char* path) {
    return path[0] == '/' || folder == AT_FDCWD ? path : path_of(folder) + "/" + path;
}

int fall_back(const char* path, const struct stat* status, int type, FTW*) {
    const auto found = faults().synced.find(status->st_ino);
    if (type == FTW_F && found != faults().synced.end() && found->second < status->st_size)
        (void)!::truncate(path, found->second);
    return 0;
}

[[noreturn]] void die() {
    ::kill(::getpid(), SIGKILL);
    while (true) ::pause();
}

// Counts the operation; returns what it has to do: nothing, half of it, or fail with errno.
enum class Verdict { proceed, half, fail };

Verdict judge(char operation, bool changes_folder) {
    Faults& state = faults();
    state.trace += operation;
    const size_t n = state.trace.size();
    const bool now = n == state.at, since = state.at > 0 && n >= state.at, writes = operation == 'w';
    const std::string& kind = state.kind;
    if (now && kind == "power") {
        ::nftw(state.under.c_str(), fall_back, 16, FTW_PHYS);
        die();
    }
    if (now && kind == "kill") die();
    if (now && kind.rfind("signal ", 0) == 0) {
        std::istringstream numbers(kind.substr(7));
        for (int number = 0; numbers >> number;) ::raise(number);
    }
    if (now && writes && (kind == "short" || kind == "torn")) return Verdict::half;
    errno = kind == "eio"        ? EIO
            : kind == "lost"     ? EACCES
            : kind == "quota"    ? EDQUOT
            : kind == "readonly" ? EROFS
                                 : ENOSPC;
    if (now && (kind == "eio" || kind == "enospc")) return Verdict::fail;
    const bool takes_room = writes || (changes_folder && (operation == 'o' || operation == 'm'));
    if (since && (kind == "full" || kind == "quota") && takes_room) return Verdict::fail;
    if (since && kind == "lost" && changes_folder) return Verdict::fail;
    if (since && kind == "readonly" && (writes || changes_folder)) return Verdict::fail;
    return Verdict::proceed;
}

template <class Call>
int judged(const std::string& path, char operation, bool changes_folder, const Call& call) {
    Faults& state = faults();
    const std::lock_guard lock(state.mutex);
    if (state.covers(path) && judge(operation, changes_folder) == Verdict::fail) return -1;
    return call();
}

int open_at(int folder, const char* path, int flags, mode_t mode) {
    const auto call = [&] {
        const int fd = real<int(int, const char*, int, ...)>("openat")(folder, path, flags, mode);
        struct stat status {};
        if (fd >= 0 && (flags & O_TRUNC) && ::fstat(fd, &status) == 0) faults().synced[status.st_ino] = 0;
        return fd;
    };
    return judged(path_at(folder, path), 'o', (flags & (O_CREAT | O_WRONLY | O_RDWR)) != 0, call);
}

mode_t mode_of(int flags, va_list arguments) {
    return (flags & O_CREAT) ? static_cast<mode_t>(va_arg(arguments, int)) : 0;
}

int sync_fd(int fd, const char* name) {
    return judged(path_of(fd), 's', false, [&] {
        struct stat status {};
        const int result = real<int(int)>(name)(fd);
        if (result == 0 && ::fstat(fd, &status) == 0) faults().synced[status.st_ino] = status.st_size;
        return result;
    });
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* time) noexcept {
    static std::atomic<int64_t> looks{0};
    if (clock != CLOCK_MONOTONIC) return real<int(clockid_t, timespec*)>("clock_gettime")(clock, time);
    const int64_t milliseconds = 10 * ++looks;
    *time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    return 0;
}

int open(const char* path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_at(AT_FDCWD, path, flags, mode);
}

int open64(const char* path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_at(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char* path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_at(folder, path, flags, mode);
}

ssize_t write(int fd, const void* bytes, size_t size) {
    const auto real_write = real<ssize_t(int, const void*, size_t)>("write");
    Faults& state = faults();
    const std::lock_guard lock(state.mutex);
    if (!state.covers(path_of(fd))) return real_write(fd, bytes, size);
    struct stat status {};
    if (::fstat(fd, &status) == 0) state.synced.emplace(status.st_ino, status.st_size);
    const Verdict verdict = judge('w', false);
    if (verdict == Verdict::fail) return -1;
    const ssize_t written = real_write(fd, bytes, verdict == Verdict::half ? (size + 1) / 2 : size);
    if (verdict == Verdict::half && state.kind == "torn") die();
    return written;
}

int fsync(int fd) {
    return sync_fd(fd, "fsync");
}

int fdatasync(int fd) {
    return sync_fd(fd, "fdatasync");
}

int mkdir(const char* path, mode_t mode) noexcept {
    return judged(path, 'm', true, [&] { return real<int(const char*, mode_t)>("mkdir")(path, mode); });
}

int rename(const char* from, const char* to) noexcept {
    return judged(to, 'r', true, [&] { return real<int(const char*, const char*)>("rename")(from, to); });
}

int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) noexcept {
    return judged(path_at(to_folder, to), 'r', true, [&] {
        return real<int(int, const char*, int, const char*, unsigned)>("renameat2")(from_folder, from, to_folder, to,
                                                                                    flags);
    });
}

int unlink(const char* path) noexcept {
    return judged(path, 'u', true, [&] { return real<int(const char*)>("unlink")(path); });
}

int unlinkat(int folder, const char* path, int flags) noexcept {
    return judged(path_at(folder, path), 'u', true,
                  [&] { return real<int(int, const char*, int)>("unlinkat")(folder, path, flags); });
}

int rmdir(const char* path) noexcept {
    return judged(path, 'u', true, [&] { return real<int(const char*)>("rmdir")(path); });
}

int remove(const char* path) noexcept {
    return judged(path, 'u', true, [&] { return real<int(const char*)>("remove")(path); });
}

}  // extern "C"
