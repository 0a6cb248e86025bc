#include "quaff/run/training/live_line.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "llmc/core/bytes.h"
#include "llmc/core/error.h"
#include "llmc/system/terminal.h"

namespace quaff {

using namespace llmc;

namespace {

constexpr double kDecay = 0.9;   // weight of a loss beside the next one's
constexpr double kPause = 1;     // seconds between two lines of a log
constexpr int kFewestCells = 3;  // of a bar that tells anything
constexpr int kMostCells = 30;
constexpr int kGap = 2;

}  // namespace

std::string live_line(const LiveFigures& figures, int columns) {
    struct Part {
        std::string text;
        int rank;  // 0 is never left out
        bool is_shown = false;
    };
    Part parts[] = {{concat(figures.step, "/", figures.total_steps), 0},
                    {format("epoch %.2f", figures.epoch), 3},
                    {format(figures.loss < 100 ? "loss %.4f" : "loss %.1f", figures.loss), 2},
                    {format_count(std::llround(figures.tokens_per_second)) + " tokens/s", 4},
                    {"peak " + format_bytes(figures.peak_memory), 5},
                    {"ETA " + format_duration(figures.seconds_left), 1}};
    const int brackets = 2 + kGap;
    // The last column stays free: some terminals wrap there.
    int room = columns > 0 ? columns - 1 : 1000;
    int bar = 0;
    for (int rank = 0; rank < static_cast<int>(std::size(parts)); ++rank) {
        Part& part = *std::ranges::find(parts, rank, &Part::rank);
        const int width = static_cast<int>(part.text.size()) + (rank > 0 ? kGap : 0);
        part.is_shown = rank == 0 || width <= room;
        if (part.is_shown) room -= width;
        // Count, loss and time left come before the bar, the rest after it.
        if (rank == 2 && room >= brackets + kFewestCells) {
            bar = kFewestCells;
            room -= brackets + bar;
        }
    }
    std::string line;
    if (bar > 0) line = progress_bar(figures.step, figures.total_steps, std::min(bar + room, kMostCells));
    for (const Part& part : parts)
        if (part.is_shown) line += (line.empty() ? "" : "  ") + part.text;
    return line;
}

double SmoothedLoss::update(double loss) {
    sum_ = kDecay * sum_ + loss;
    weight_ = kDecay * weight_ + 1;
    return sum_ / weight_;
}

bool LinePace::is_due(int64_t step, int64_t total_steps, double now) {
    if (every_ > 0) return step % every_ == 0;
    if (!is_log_) return false;
    if (last_ && now - *last_ < kPause && step < total_steps) return false;
    last_ = now;
    return true;
}

}  // namespace quaff
