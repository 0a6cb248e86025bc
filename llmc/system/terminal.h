// What a person sees of a run: lines and tables, and on a terminal one live line at the bottom that is drawn over.
// Into a file or a pipe the live line is left out, so that what is kept reads as plain lines.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace llmc {

// Writes and flushes. What first kept something from stdout is remembered: a long run goes on without its terminal, and
// says at its end that not all of it was seen.
void print(std::FILE* out, const std::string& text);
// Its errno, once; 0 when all was written.
int take_stdout_error();

class Terminal {
  public:
    // `quiet` leaves out everything but result(). `out` is stdout, or stderr when stdout is to carry JSON; where it is
    // null nothing is said at all.
    Terminal(std::FILE* out, bool quiet);
    ~Terminal() { clear_status(); }
    Terminal(const Terminal&) = delete;
    Terminal& operator=(const Terminal&) = delete;

    void line(const std::string& text);
    // A line that --quiet leaves in: what the run was for.
    void result(const std::string& text);
    // A heading and rows of two columns, the first padded to the widest.
    void table(const std::string& heading, const std::vector<std::pair<std::string, std::string>>& rows);
    // Draws over the live line; nothing when the output is no terminal.
    void status(const std::string& text);
    // What begins now may take minutes: a line that says so where no live line will.
    void phase(const std::string& text);
    void clear_status();
    // A remark on stderr, whatever --quiet says: something the user should know and may want to change.
    void warn(const std::string& text);

    bool is_quiet() const { return quiet_; }
    bool live() const { return live_; }
    // No live line from here on: a launcher shows what it reads here wherever it was sent itself.
    void be_plain() { live_ = false; }

  private:
    std::FILE* out_;
    bool quiet_;
    bool live_;
    bool has_status_ = false;
};

// "[#######.....]" with `width` cells.
std::string progress_bar(int64_t done, int64_t total, int width);

// 7 -> "7s", 125 -> "2m05s", 3725 -> "1h02m".
std::string format_duration(double seconds);

// 1234567 -> "1,234,567".
std::string format_count(int64_t count);
// "1 example", "1,234 examples".
std::string counted(int64_t count, const std::string& noun);

// printf into a string: for the figures of a table or a progress line.
[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...);

// 1.23456e-05, 0.693147181: a double as %.9g, which is enough to tell any two floats apart.
std::string format_loss(double loss);

}  // namespace llmc
