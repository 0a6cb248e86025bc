#include "llmc/system/standard_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "llmc/core/error.h"

namespace llmc {
namespace {

int stdout_error = 0;

}  // namespace

void open_standard_files() {
    for (int file = STDIN_FILENO; file <= STDERR_FILENO; file++)
        if (fcntl(file, F_GETFD) == -1) (void)!open("/dev/null", O_RDWR);
}

void silence_stdout() {
    if (!std::freopen("/dev/null", "w", stdout)) fail("/dev/null cannot be opened");
}

void print(std::FILE* out, const std::string& text) {
    const bool written = std::fwrite(text.data(), 1, text.size(), out) == text.size() && std::fflush(out) == 0;
    if (!written && out == stdout && stdout_error == 0) stdout_error = errno;
}

int take_stdout_error() {
    return std::exchange(stdout_error, 0);
}

}  // namespace llmc
