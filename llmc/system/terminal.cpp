#include "llmc/system/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "llmc/core/error.h"

namespace llmc {

namespace {

constexpr int kBarCells = 30, kFewestCells = 3;
constexpr auto kPlainPause = std::chrono::seconds(10);  // between two lines of progress in a file

// UTF-8 characters, each taken for one column.
int width_of(std::string_view text) {
    return static_cast<int>(
        std::ranges::count_if(text, [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }));
}

// The column at which wrap() continues a line that does not fit.
size_t next_indent(std::string_view line, int columns, int hanging) {
    const size_t indent = std::min(line.find_first_not_of(' '), line.size());
    const size_t gap = line.substr(0, static_cast<size_t>(columns) / 2).rfind("  ");
    const bool has_columns = gap != line.npos && gap > indent;
    return has_columns ? std::min(line.find_first_not_of(' ', gap), line.size())
                       : indent + static_cast<size_t>(hanging);
}

// One line of wrap().
std::string wrap_line(std::string_view line, int columns, int hanging) {
    const size_t indent = std::min(line.find_first_not_of(' '), line.size());
    const std::string next_line = "\n" + std::string(next_indent(line, columns, hanging), ' ');
    std::string wrapped(line.substr(0, indent));
    int at = static_cast<int>(indent);
    for (size_t begin = indent; begin < line.size();) {
        const size_t spaces = std::min(line.find_first_not_of(' ', begin), line.size());
        const size_t end = std::min(line.find(' ', spaces), line.size());
        const std::string_view gap = line.substr(begin, spaces - begin), word = line.substr(spaces, end - spaces);
        const bool fits = begin == indent || at + static_cast<int>(gap.size()) + width_of(word) <= columns;
        if (fits) {
            wrapped.append(gap).append(word);
            at += static_cast<int>(gap.size()) + width_of(word);
        } else if (!word.empty()) {
            wrapped.append(next_line).append(word);
            at = static_cast<int>(next_line.size()) - 1 + width_of(word);
        }
        begin = end;
    }
    return wrapped;
}

}  // namespace

int terminal_columns(std::FILE* out) {
    if (!isatty(fileno(out))) return 0;
    winsize size{};
    return ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string wrap(const std::string& text, int columns, int hanging) {
    if (columns <= 0) return text;
    std::string wrapped;
    for (size_t begin = 0; begin <= text.size();) {
        const size_t end = std::min(text.find('\n', begin), text.size());
        if (begin > 0) wrapped += '\n';
        wrapped += wrap_line(std::string_view(text).substr(begin, end - begin), columns, hanging);
        begin = end + 1;
    }
    return wrapped;
}

std::string cut(const std::string& text, int columns) {
    size_t end = 0;
    for (int taken = 0; end < text.size(); ++end)
        if ((static_cast<unsigned char>(text[end]) & 0xC0) != 0x80 && taken++ == columns) break;
    return text.substr(0, end);
}

Terminal::Terminal(std::FILE* out, bool quiet) : out_(out), quiet_(quiet) {
    const char* term = std::getenv("TERM");
    live_ = out && !quiet && isatty(fileno(out)) && term && std::strcmp(term, "dumb") != 0;
}

std::string Terminal::fitted(const std::string& text, std::FILE* out, int hanging) const {
    return wrap(text, columns_of(out), hanging) + "\n";
}

int Terminal::columns_of(std::FILE* out) const {
    return plain_ || !out ? 0 : terminal_columns(out);
}

int Terminal::columns() const {
    return columns_of(out_);
}

bool Terminal::takes_colour() const {
    const char *term = std::getenv("TERM"), *no_colour = std::getenv("NO_COLOR");
    return columns() > 0 && term && std::strcmp(term, "dumb") != 0 && (!no_colour || *no_colour == '\0');
}

void Terminal::line(const std::string& text) {
    if (!quiet_) result(text);
}

void Terminal::result(const std::string& text) {
    if (!out_) return;
    clear_status();
    print(out_, fitted(text, out_, 2));
}

void Terminal::unbroken_line(const std::string& text) {
    if (!out_ || quiet_) return;
    clear_status();
    print(out_, text + "\n");
}

void Terminal::table(const std::string& heading, const std::vector<std::pair<std::string, std::string>>& rows) {
    if (!out_ || quiet_) return;
    size_t width = 0;
    for (const auto& [name, value] : rows) width = std::max(width, name.size());
    line(heading);
    for (const auto& [name, value] : rows)
        print(out_, fitted(concat("  ", name, std::string(width - name.size() + 2, ' '), value), out_,
                           static_cast<int>(width) + 2));
}

void Terminal::status(const std::string& text) {
    if (!live_) return;
    // A live line that wraps could not be drawn over. The last column stays free: some terminals wrap there.
    print(out_, "\r\033[K" + cut(text, terminal_columns(out_) - 1));
    has_status_ = true;
}

void Terminal::phase(const std::string& text) {
    if (!live_) line(text + " ...");
}

void Terminal::clear_status() {
    if (!has_status_) return;
    print(out_, "\r\033[K");
    has_status_ = false;
}

void Terminal::warn(const std::string& text) {
    if (!out_) return;
    clear_status();
    print(stderr, fitted("note: " + text, stderr, 6));
}

std::string progress_bar(int64_t done, int64_t total, int width) {
    const int64_t filled = total > 0 ? std::clamp<int64_t>(done * width / total, 0, width) : 0;
    return "[" + std::string(static_cast<size_t>(filled), '#') + std::string(static_cast<size_t>(width - filled), '.') +
           "]";
}

std::string progress_text(const std::string& what, int64_t done, int64_t total, double seconds_left, int columns) {
    const std::string eta = seconds_left >= 0 ? "  ETA " + format_duration(seconds_left) : "";
    const std::string count = concat(done, "/", total, eta);
    const int left = columns - 1 - width_of(what) - width_of(count) - 6;  // two gaps and the bar's brackets
    const int cells = columns == 0 ? kBarCells : std::min(left, kBarCells);
    if (cells < kFewestCells) return concat(what, "  ", count);
    return concat(what, "  ", progress_bar(done, total, cells), "  ", count);
}

void ProgressLine::show(const std::string& what, int64_t done, int64_t total) {
    const auto now = std::chrono::steady_clock::now();
    if (what != what_ || done < last_) {
        what_ = what;
        begin_ = told_ = now;
        first_ = done;
    }
    last_ = done;
    const double seconds = std::chrono::duration<double>(now - begin_).count();
    const double left =
        done > first_ ? seconds * static_cast<double>(total - done) / static_cast<double>(done - first_) : -1;
    if (terminal_->live()) {
        terminal_->status(progress_text(what, done, total, left, terminal_->columns()));
    } else if (left >= 0 && now - told_ >= kPlainPause) {
        told_ = now;
        terminal_->line(concat(what, " ", done, "/", total, ", ETA ", format_duration(left)));
    }
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
