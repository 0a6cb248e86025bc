// What a person sees of a run: lines and tables, and on a terminal one live line at the bottom that is drawn over.
//
// On a terminal, lines break between words at its width. Into a file or a pipe they stay whole, and there is no live
// line.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "llmc/system/standard_files.h"

namespace llmc {

class Terminal {
  public:
    // `out` is stdout, or stderr when stdout is to carry JSON; null prints nothing. `quiet` leaves out everything but
    // result() and warn().
    Terminal(std::FILE* out, bool quiet);
    ~Terminal() { clear_status(); }
    Terminal(const Terminal&) = delete;
    Terminal& operator=(const Terminal&) = delete;

    void line(const std::string& text);
    // A line that is printed when `quiet`, too: what the run was for.
    void result(const std::string& text);
    // A line that is never broken, such as a command to copy.
    void unbroken_line(const std::string& text);
    // A heading and rows of two columns, the first padded to the widest.
    void table(const std::string& heading, const std::vector<std::pair<std::string, std::string>>& rows);
    // Draws the live line anew, cut to the terminal's width.
    void status(const std::string& text);
    // Announces work that may take minutes, unless a live line will show it.
    void phase(const std::string& text);
    void clear_status();
    // A note on stderr, printed when `quiet`, too: something the user should know and may want to change.
    void warn(const std::string& text);

    // The width of the terminal that lines go to; 0 if lines stay whole.
    int columns() const;
    // Whether lines go to a terminal that shows colours, and nobody asked for none (NO_COLOR, no-color.org).
    bool takes_colour() const;
    bool is_quiet() const { return quiet_; }
    bool live() const { return live_; }
    // No live line and no broken lines from here on: a launcher reads the output and may write it to a file.
    void be_plain() { live_ = false, plain_ = true; }

  private:
    int columns_of(std::FILE* out) const;
    std::string fitted(const std::string& text, std::FILE* out, int hanging) const;

    std::FILE* out_;
    bool quiet_;
    bool live_;
    bool plain_ = false;
    bool has_status_ = false;
};

// The columns of the terminal behind `out`, 80 if it does not say; 0 if it is no terminal.
int terminal_columns(std::FILE* out);

// `text` with line breaks between words wherever a line would pass `columns` (0: no limit). Words longer than a line
// stay whole. Rows of a table, whose columns lie two spaces or more apart, continue below their last column, provided
// it begins in the left half; other lines continue `hanging` columns in.
std::string wrap(const std::string& text, int columns, int hanging = 0);
// The first `columns` characters of UTF-8 text.
std::string cut(const std::string& text, int columns);

// "[#######.....]" with `width` cells.
std::string progress_bar(int64_t done, int64_t total, int width);

// One line of fewer than `columns` columns (0: no limit) for work whose length is known; the bar takes what is left.
// `seconds_left`: an estimate, negative if there is none yet.
//
//   evaluating  [#######.....]  12/40  ETA 1m05s
std::string progress_text(const std::string& what, int64_t done, int64_t total, double seconds_left, int columns);

// The live line of such work. Where there is none, a line every ten seconds: "evaluating 12/40, ETA 1m05s".
class ProgressLine {
  public:
    explicit ProgressLine(Terminal& terminal) : terminal_(&terminal) {}

    // A new `what`, or a smaller `done` than before, begins anew.
    void show(const std::string& what, int64_t done, int64_t total);

  private:
    Terminal* terminal_;
    std::string what_;
    std::chrono::steady_clock::time_point begin_, told_;
    int64_t first_ = 0, last_ = 0;
};

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
