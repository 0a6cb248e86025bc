#include "llmc/io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "llmc/core/error.h"
#include "llmc/core/integers.h"
#include "llmc/core/program.h"

namespace llmc {

namespace {

struct FileDescriptor {
    int fd;
    ~FileDescriptor() {
        if (fd >= 0) ::close(fd);
    }
};

// Takes a hexadecimal number off the front of the text.
uintptr_t take_hexadecimal(std::string_view& text) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    uintptr_t number = 0;
    for (size_t digit; !text.empty() && (digit = kDigits.find(text[0])) != kDigits.npos; text.remove_prefix(1))
        number = 16 * number + digit;
    return number;
}

void put(std::string_view text) {
    (void)!::write(STDERR_FILENO, text.data(), text.size());
}

// Makes only async-signal-safe calls and allocates nothing. A line of /proc/self/maps: BEGIN-END rights ... /path
void on_lost_page(int signal, siginfo_t* info, void*) {
    std::signal(signal, SIG_DFL);  // a fault that is not explained below comes again and ends the program
    if (info->si_code != BUS_ADRERR && info->si_code != BUS_OBJERR && info->si_code != BUS_MCEERR_AR) {
        ::raise(signal);  // no page is missing: a process sent the signal
        return;
    }
    const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
    const int maps = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    std::array<char, PATH_MAX + 128> line;
    size_t length = 0;
    for (char c; ::read(maps, &c, 1) == 1;) {
        if (c != '\n') {
            // What a terminal would obey becomes a question mark.
            if (length < line.size()) line[length++] = static_cast<unsigned char>(c) < ' ' || c == 127 ? '?' : c;
            continue;
        }
        std::string_view rest(line.data(), std::exchange(length, 0));
        const uintptr_t begin = take_hexadecimal(rest);
        rest.remove_prefix(std::min<size_t>(1, rest.size()));
        const bool found = address >= begin && address < take_hexadecimal(rest);
        if (!found || !rest.starts_with(" r-") || rest.find('/') == rest.npos) continue;
        put(program().name);
        put(": ");
        put(rest.substr(rest.find('/')));
        put(": can no longer be read to its end; was it cut short during the run, or is its disk "
            "failing?\n");
        ::_exit(EXIT_FAILURE);
    }
}

}  // namespace

void tell_of_lost_pages() {
    struct sigaction action {};
    action.sa_sigaction = on_lost_page;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGBUS, &action, nullptr);
}

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
    // Whole pages only, none of them shared with a neighbouring tensor.
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    const auto begin = static_cast<size_t>(range.data() - bytes_.data());
    const size_t first = round_up(begin, page);
    const size_t last = (begin + range.size()) / page * page;
    // Only a hint: it changes the memory in use, not a result.
    if (first < last) ::madvise(const_cast<std::byte*>(bytes_.data()) + first, last - first, MADV_DONTNEED);
}

}  // namespace llmc
