#include "llmc/system/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>
#include <thread>
#include <utility>

#include "llmc/core/error.h"

namespace llmc {
namespace {

constexpr std::chrono::milliseconds kPause{20};  // between two looks at the child
constexpr int kCannotExecute = 127;              // exit status, as of a shell
constexpr int kFirstOther = 3;                   // the first descriptor that is not stdin, stdout or stderr

// A descriptor that exec closes. It is none of the standard ones, which may be closed here, so that what becomes one of
// them in the child is always a copy, which exec leaves open.
class Descriptor {
  public:
    // Takes over `fd`, or fails with `what` and the reason in errno if it is none.
    Descriptor(int fd, const std::string& what) : fd_(fd) {
        if (fd >= 0 && fd < kFirstOther) {
            fd_ = ::fcntl(fd, F_DUPFD_CLOEXEC, kFirstOther);
            const int reason = errno;
            ::close(fd);
            errno = reason;
        }
        require(fd_ >= 0, what, ": ", std::strerror(errno));
    }
    ~Descriptor() { close(); }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int fd() const { return fd_; }
    void close() {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }

  private:
    int fd_;
};

class File : public Descriptor {
  public:
    File(const std::filesystem::path& path, int flags)
        : Descriptor(::open(path.c_str(), flags | O_CLOEXEC, 0666), path.string() + ": cannot open") {}
};

// Tells why the new process could not run the program: the errno comes through, or nothing once exec closed the end.
class Pipe {
  public:
    Pipe() : Pipe(make()) {}
    int write_end() const { return write_.fd(); }
    // Waits until the program runs, and returns 0, or until it is known that it cannot.
    int reason() {
        write_.close();
        int reason = 0;
        ssize_t length = 0;
        do {
            length = ::read(read_.fd(), &reason, sizeof reason);
        } while (length < 0 && errno == EINTR);
        return length == sizeof reason ? reason : 0;
    }

  private:
    explicit Pipe(const std::array<int, 2>& ends) : read_(ends[0], kWhat), write_(ends[1], kWhat) {}
    static std::array<int, 2> make() {
        std::array<int, 2> ends = {-1, -1};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0) ends = {-1, -1};
        return ends;
    }

    static constexpr const char* kWhat = "cannot make a pipe";
    Descriptor read_, write_;
};

// Gives SIGCHLD its default action while it lives. A process that ignores the signal, as it may have been started to,
// is not told how its children end.
class WaitableChildren {
  public:
    WaitableChildren() {
        struct sigaction action {};
        action.sa_handler = SIG_DFL;
        ::sigaction(SIGCHLD, &action, &before_);
    }
    ~WaitableChildren() { ::sigaction(SIGCHLD, &before_, nullptr); }
    WaitableChildren(const WaitableChildren&) = delete;
    WaitableChildren& operator=(const WaitableChildren&) = delete;

  private:
    struct sigaction before_ {};
};

// Blocks all signals of this thread while it lives. Until a new process has left its parent's handlers behind, a signal
// to it would run one of them and be lost.
class BlockedSignals {
  public:
    BlockedSignals() {
        sigset_t all;
        sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~BlockedSignals() { restore(); }
    BlockedSignals(const BlockedSignals&) = delete;
    BlockedSignals& operator=(const BlockedSignals&) = delete;
    void restore() const { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  private:
    sigset_t before_{};
};

// What exec does as well: handlers give way to the default, and what is ignored stays so.
void leave_handlers_behind() {
    for (int signal = 1; signal < NSIG; ++signal) {
        struct sigaction action {};
        if (::sigaction(signal, nullptr, &action) != 0 || action.sa_handler == SIG_IGN) continue;
        action = {};
        action.sa_handler = SIG_DFL;
        ::sigaction(signal, &action, nullptr);
    }
}

// What the new process does. Only async-signal-safe calls: other threads may have held any lock.
[[noreturn]] void become(char* const* argv, const std::array<int, 3>& standard, int failure, pid_t parent,
                         const BlockedSignals& signals) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    leave_handlers_behind();
    signals.restore();
    if (::getppid() != parent) ::_exit(kCannotExecute);
    if (::dup2(standard[0], STDIN_FILENO) >= 0 && ::dup2(standard[1], STDOUT_FILENO) >= 0 &&
        ::dup2(standard[2], STDERR_FILENO) >= 0)
        ::execv(argv[0], argv);
    const int reason = errno;
    (void)!::write(failure, &reason, sizeof reason);
    ::_exit(kCannotExecute);
}

// The new process, or -1 with the reason in errno.
pid_t start(char* const* argv, const std::array<int, 3>& standard, int failure) {
    const pid_t parent = ::getpid();
    const BlockedSignals signals;
    const pid_t child = ::fork();
    if (child == 0) become(argv, standard, failure, parent, signals);
    if (child > 0) ::setpgid(child, child);  // whichever of the two comes first
    return child;
}

}  // namespace

ChildEnd run_child(const std::vector<std::string>& command, const ChildFiles& files,
                   const std::function<bool()>& wants_stop) {
    const File in("/dev/null", O_RDONLY), out(files.out, O_WRONLY | O_CREAT | O_TRUNC),
        err(files.err, O_WRONLY | O_CREAT | O_APPEND);
    std::vector<std::string> words = command;
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const WaitableChildren waitable;
    Pipe failure;
    const pid_t child = start(argv.data(), {in.fd(), out.fd(), err.fd()}, failure.write_end());
    require(child >= 0, "cannot start ", command.front(), ": ", std::strerror(errno));
    if (const int reason = failure.reason(); reason != 0) {
        ::waitpid(child, nullptr, 0);
        fail("cannot run ", command.front(), ": ", std::strerror(reason));
    }
    bool told = false;
    for (;;) {
        int status = 0;
        const pid_t ended = ::waitpid(child, &status, WNOHANG);
        if (ended == child)
            return WIFSIGNALED(status) ? ChildEnd{0, WTERMSIG(status)} : ChildEnd{WEXITSTATUS(status), 0};
        require(ended == 0 || errno == EINTR, "cannot wait for ", command.front(), ": ", std::strerror(errno));
        if (!told && wants_stop()) {
            ::kill(-child, SIGTERM);  // it and what it started
            told = true;
        }
        std::this_thread::sleep_for(kPause);
    }
}

std::string shell_word(const std::string& word) {
    constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,+@%";
    if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
    std::string quoted = "'";
    for (const char c : word) quoted += c == '\'' ? "'\\''" : std::string(1, c);
    return quoted + "'";
}

std::string shell_line(const std::vector<std::string>& words) {
    std::string line;
    for (const std::string& word : words) line += (line.empty() ? "" : " ") + shell_word(word);
    return line;
}

}  // namespace llmc
