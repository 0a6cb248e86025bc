#include "llmc/system/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>
#include <thread>

#include "llmc/core/error.h"

namespace llmc {
namespace {

constexpr std::chrono::milliseconds kPause{20};  // between two looks at the child
constexpr int kCannotExecute = 127;              // exit status, as of a shell

class File {
  public:
    File(const std::filesystem::path& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
        require(fd_ >= 0, path.string(), ": cannot open: ", std::strerror(errno));
    }
    ~File() { ::close(fd_); }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    int fd() const { return fd_; }

  private:
    int fd_;
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
[[noreturn]] void become(char* const* argv, int in, int out, int err, pid_t parent, const BlockedSignals& signals) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    leave_handlers_behind();
    signals.restore();
    if (::getppid() == parent && ::dup2(in, STDIN_FILENO) >= 0 && ::dup2(out, STDOUT_FILENO) >= 0 &&
        ::dup2(err, STDERR_FILENO) >= 0)
        ::execv(argv[0], argv);
    ::_exit(kCannotExecute);
}

// The new process, or -1 with the reason in errno.
pid_t start(char* const* argv, const File& in, const File& out, const File& err) {
    const pid_t parent = ::getpid();
    const BlockedSignals signals;
    const pid_t child = ::fork();
    if (child == 0) become(argv, in.fd(), out.fd(), err.fd(), parent, signals);
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
    const pid_t child = start(argv.data(), in, out, err);
    require(child >= 0, "cannot start ", command.front(), ": ", std::strerror(errno));
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

std::string shell_line(const std::vector<std::string>& words) {
    constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,+@%";
    std::string line;
    for (const std::string& word : words) {
        if (!line.empty()) line += ' ';
        if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) {
            line += word;
            continue;
        }
        line += '\'';
        for (const char c : word) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
        line += '\'';
    }
    return line;
}

}  // namespace llmc
