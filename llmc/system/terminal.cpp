#include "llmc/system/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "llmc/core/error.h"

namespace llmc {

namespace {

int stdout_error = 0;

}  // namespace

void print(std::FILE* out, const std::string& text) {
    const bool written = std::fwrite(text.data(), 1, text.size(), out) == text.size() && std::fflush(out) == 0;
    if (!written && out == stdout && stdout_error == 0) stdout_error = errno;
}

int take_stdout_error() {
    return std::exchange(stdout_error, 0);
}

Terminal::Terminal(std::FILE* out, bool quiet) : out_(out), quiet_(quiet) {
    const char* term = std::getenv("TERM");
    live_ = out && !quiet && isatty(fileno(out)) && term && std::strcmp(term, "dumb") != 0;
}

void Terminal::line(const std::string& text) {
    if (!quiet_) result(text);
}

void Terminal::result(const std::string& text) {
    if (!out_) return;
    clear_status();
    print(out_, text + "\n");
}

void Terminal::table(const std::string& heading, const std::vector<std::pair<std::string, std::string>>& rows) {
    size_t width = 0;
    for (const auto& [name, value] : rows) width = std::max(width, name.size());
    line(heading);
    for (const auto& [name, value] : rows) line(concat("  ", name, std::string(width - name.size() + 2, ' '), value));
}

void Terminal::status(const std::string& text) {
    if (!live_) return;
    winsize size{};
    const bool known = ioctl(fileno(out_), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    // A live line that wraps could not be drawn over: cut it to the window.
    const int columns = known ? size.ws_col - 1 : 79;
    std::fprintf(out_, "\r\033[K%.*s", columns, text.c_str());
    std::fflush(out_);
    has_status_ = true;
}

void Terminal::phase(const std::string& text) {
    if (!live_) line(text + " ...");
}

void Terminal::clear_status() {
    if (!has_status_) return;
    std::fprintf(out_, "\r\033[K");
    std::fflush(out_);
    has_status_ = false;
}

void Terminal::warn(const std::string& text) {
    if (!out_) return;
    clear_status();
    std::fprintf(stderr, "note: %s\n", text.c_str());
}

std::string progress_bar(int64_t done, int64_t total, int width) {
    const int64_t filled = total > 0 ? std::clamp<int64_t>(done * width / total, 0, width) : 0;
    return "[" + std::string(static_cast<size_t>(filled), '#') + std::string(static_cast<size_t>(width - filled), '.') +
           "]";
}

std::string format_duration(double seconds) {
    if (!(seconds >= 0) || seconds > 1e9) return "?";
    const auto total = static_cast<int64_t>(std::llround(seconds));
    if (total < 60) return format("%llds", static_cast<long long>(total));
    if (total < 3600)
        return format("%lldm%02llds", static_cast<long long>(total / 60), static_cast<long long>(total % 60));
    return format("%lldh%02lldm", static_cast<long long>(total / 3600), static_cast<long long>(total / 60 % 60));
}

std::string format_count(int64_t count) {
    std::string digits = std::to_string(count);
    const size_t first = count < 0 ? 1 : 0;
    for (size_t at = digits.size(); at > first + 3; at -= 3) digits.insert(at - 3, ",");
    return digits;
}

std::string counted(int64_t count, const std::string& noun) {
    return format_count(count) + " " + noun + (count == 1 ? "" : "s");
}

std::string format(const char* pattern, ...) {
    va_list arguments, again;
    va_start(arguments, pattern);
    va_copy(again, arguments);
    const int length = std::vsnprintf(nullptr, 0, pattern, arguments);
    va_end(arguments);
    std::string text(static_cast<size_t>(std::max(0, length)), '\0');
    std::vsnprintf(text.data(), text.size() + 1, pattern, again);
    va_end(again);
    return text;
}

std::string format_loss(double loss) {
    return format("%.9g", loss);
}

}  // namespace llmc
