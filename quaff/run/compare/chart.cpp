#include "quaff/run/compare/chart.h"

#include <algorithm>
#include <cmath>

#include "llmc/core/bytes.h"
#include "llmc/core/error.h"
#include "llmc/system/terminal.h"
#include "quaff/run/compare/table.h"
#include "quaff/run/evaluation.h"
#include "quaff/run/svg.h"

namespace quaff {

using namespace llmc;

namespace {

// All in pixels.
constexpr double kWidth = 760, kHeight = 440;
constexpr double kLeft = 80, kRight = 730, kTop = 60, kBottom = 380;  // of the plotted area
constexpr double kLargestRadius = 36;
constexpr double kLabelRoom = 120;
constexpr int kTicks = 4;

struct Disc {
    std::string method;
    double seconds, divergence;
    int64_t memory;
};

std::vector<Disc> discs_of(const Comparison& comparison) {
    std::vector<Disc> discs;
    for (const MethodResult& result : comparison.methods) {
        const Figures figures = comparison.trains() ? result.mean_after() : result.before;
        const std::optional<double> seconds = result.median_seconds(), divergence = figure(figures, "kl_to_fp");
        if (seconds && divergence) discs.push_back({result.method, *seconds, *divergence, result.peak_memory()});
    }
    return discs;
}

// From 0 to a round value above the largest one.
struct Scale {
    double end, first_pixel, last_pixel;

    double at(double value) const { return first_pixel + (last_pixel - first_pixel) * value / end; }
};

// The smallest 1, 2 or 5 times a power of ten that makes kTicks steps reach `largest`.
double round_step(double largest) {
    if (!(largest > 0)) return 1;
    const double power = std::pow(10, std::floor(std::log10(largest / kTicks)));
    for (const double factor : {1, 2, 5})
        if (factor * power * kTicks >= largest) return factor * power;
    return 10 * power;
}

std::string axes(const Scale& across, const Scale& up) {
    std::string svg;
    for (int tick = 0; tick <= kTicks; ++tick) {
        const double seconds = across.end * tick / kTicks, divergence = up.end * tick / kTicks;
        svg += svg_line(across.at(seconds), kTop, across.at(seconds), kBottom);
        svg += svg_line(kLeft, up.at(divergence), kRight, up.at(divergence));
        svg += svg_text(across.at(seconds), kBottom + 20, " text-anchor=\"middle\"", format("%.4g", seconds));
        svg += svg_text(kLeft - 8, up.at(divergence) + 4, " text-anchor=\"end\"", format_divergence(divergence));
    }
    svg += svg_text((kLeft + kRight) / 2, kBottom + 44, " text-anchor=\"middle\"", "seconds of a step");
    return svg + svg_text(kLeft - 60, kTop - 12, "", "KL to fp; area: peak memory of a step");
}

}  // namespace

std::string comparison_chart(const Comparison& comparison) {
    std::vector<Disc> discs = discs_of(comparison);
    double slowest = 0, farthest = 0, largest = 1;
    for (const Disc& disc : discs) {
        slowest = std::max(slowest, disc.seconds);
        farthest = std::max(farthest, disc.divergence);
        largest = std::max(largest, static_cast<double>(disc.memory));
    }
    const Scale across{kTicks * round_step(slowest), kLeft, kRight}, up{kTicks * round_step(farthest), kBottom, kTop};
    // Smaller ones on top.
    std::ranges::stable_sort(discs, [](const Disc& a, const Disc& b) { return a.memory > b.memory; });
    std::string svg = svg_begin(kWidth, kHeight, ".disc { fill: #0969da; fill-opacity: 0.35; stroke: #0969da }",
                                ".disc { fill: #4493f8; stroke: #4493f8 }");
    svg += svg_text(kLeft - 60, 24, " font-weight=\"bold\"",
                    concat("Methods, ", stage_title(comparison, comparison.trains())));
    svg += axes(across, up);
    for (const Disc& disc : discs) {
        const double x = across.at(disc.seconds), y = up.at(disc.divergence);
        const double radius = kLargestRadius * std::sqrt(static_cast<double>(disc.memory) / largest);
        svg += format("  <circle class=\"disc\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"><title>", x, y, radius) +
               concat(disc.method, ": ", format("%.4g", disc.seconds), " s, KL ", format_divergence(disc.divergence),
                      ", ", format_bytes(disc.memory), "</title></circle>\n");
        const bool to_the_right = x + radius + kLabelRoom < kWidth;
        svg += to_the_right ? svg_text(x + radius + 4, y + 4, "", disc.method)
                            : svg_text(x - radius - 4, y + 4, " text-anchor=\"end\"", disc.method);
    }
    return svg + kSvgEnd;
}

}  // namespace quaff
