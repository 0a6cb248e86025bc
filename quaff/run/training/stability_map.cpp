#include "quaff/run/training/stability_map.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "llmc/core/error.h"
#include "llmc/system/terminal.h"
#include "quaff/run/svg.h"

namespace quaff {

using namespace llmc;

namespace {

// All in pixels.
constexpr double kWidth = 760, kLeft = 60, kRight = 740, kTop = 64;  // of the plotted area
constexpr double kPanelTitle = 28, kPanelFoot = 26;                  // above and below the cells of a panel
constexpr double kPanelHeight = 160, kSmallestCell = 3, kLargestCell = 18;
constexpr int64_t kMostColumns = 170;
constexpr int kLevels = 10;  // of colour above none

struct Steps {
    int64_t first, count, columns;

    int64_t column_of(int64_t step) const { return (step - first) * columns / count; }
    double pixel_of(int64_t column) const {
        return kLeft + (kRight - kLeft) * static_cast<double>(column) / static_cast<double>(columns);
    }
};

Steps steps_of(const std::vector<StabilityPanel>& panels) {
    int64_t first = INT64_MAX, last = 0;
    for (const StabilityPanel& panel : panels) {
        for (const std::vector<HitRate>& layer : panel.layers) {
            if (layer.empty()) continue;
            first = std::min(first, layer.front().step);
            last = std::max(last, layer.back().step);
        }
    }
    if (last == 0) return {1, 1, 1};
    const int64_t count = last - first + 1;
    return {first, count, std::min(count, kMostColumns)};
}

double cell_height(const StabilityPanel& panel) {
    const auto n = static_cast<double>(std::max<size_t>(panel.layers.size(), 1));
    return std::clamp(kPanelHeight / n, kSmallestCell, kLargestCell);
}

// The level of each column, nothing where no step of it has a hit rate.
std::vector<std::optional<int>> levels_of(const std::vector<HitRate>& layer, const Steps& steps) {
    std::vector<double> sums(static_cast<size_t>(steps.columns));
    std::vector<int64_t> counts(sums.size());
    for (const HitRate& hit : layer) {
        const auto column = static_cast<size_t>(steps.column_of(hit.step));
        sums[column] += hit.value;
        counts[column]++;
    }
    std::vector<std::optional<int>> levels(sums.size());
    for (size_t i = 0; i < sums.size(); ++i)
        if (counts[i] > 0)
            levels[i] = static_cast<int>(std::lround(kLevels * sums[i] / static_cast<double>(counts[i])));
    return levels;
}

// Neighbours of one level are one rectangle, and all rectangles of a level one path.
std::string cells(const StabilityPanel& panel, const Steps& steps, double bottom) {
    std::map<int, std::string> paths;
    const double height = cell_height(panel);
    for (size_t i = 0; i < panel.layers.size(); ++i) {
        const std::vector<std::optional<int>> levels = levels_of(panel.layers[i], steps);
        const double top = bottom - height * static_cast<double>(i + 1);
        for (size_t begin = 0, end = 0; begin < levels.size(); begin = end) {
            while (end < levels.size() && levels[end] == levels[begin]) ++end;
            if (!levels[begin] || *levels[begin] == 0) continue;
            const double x = steps.pixel_of(static_cast<int64_t>(begin)),
                         width = steps.pixel_of(static_cast<int64_t>(end)) - x;
            paths[*levels[begin]] += format("M%.1f %.1fh%.1fv%.1fh-%.1fz", x, top, width, height, width);
        }
    }
    std::string svg;
    for (const auto& [level, path] : paths)
        svg += format("  <path class=\"cell\" fill-opacity=\"%.2f\" d=\"", static_cast<double>(level) / kLevels) +
               path + "\"/>\n";
    return svg;
}

std::string legend() {
    std::string svg;
    constexpr double kSide = 12, kY = 34;
    for (int level = 0; level <= kLevels; ++level)
        svg += format(
            "  <rect class=\"cell\" fill-opacity=\"%.2f\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n",
            static_cast<double>(level) / kLevels, kLeft + kSide * level, kY, kSide, kSide);
    const double end = kLeft + kSide * (kLevels + 1);
    svg += svg_text(kLeft - 8, kY + 11, " text-anchor=\"end\"", "0%");
    return svg + svg_text(end + 8, kY + 11, "",
                          "100% of the batch's outlier channels were chosen before training; up: layers");
}

}  // namespace

std::string stability_map(const std::string& title, const std::vector<StabilityPanel>& panels) {
    const Steps steps = steps_of(panels);
    std::string body = svg_text(kLeft - 8, 22, " font-weight=\"bold\"", title) + legend();
    double y = kTop;
    for (const StabilityPanel& panel : panels) {
        const double top = y + kPanelTitle,
                     bottom = top + cell_height(panel) * static_cast<double>(panel.layers.size());
        body += svg_text(kLeft, top - 8, "", panel.title);
        body += svg_text(kLeft - 8, bottom, " text-anchor=\"end\"", "0");
        if (panel.layers.size() > 1)
            body += svg_text(kLeft - 8, top + 9, " text-anchor=\"end\"", std::to_string(panel.layers.size() - 1));
        body += svg_line(kLeft, top, kRight, top) + svg_line(kLeft, bottom, kRight, bottom) +
                svg_line(kLeft, top, kLeft, bottom) + svg_line(kRight, top, kRight, bottom);
        body += cells(panel, steps, bottom);
        body += svg_text(kLeft, bottom + 16, "", concat("step ", steps.first));
        body += svg_text(kRight, bottom + 16, " text-anchor=\"end\"", std::to_string(steps.first + steps.count - 1));
        y = bottom + kPanelFoot;
    }
    return svg_begin(kWidth, y + 4, ".cell { fill: #0550ae }", ".cell { fill: #79c0ff }") + body + kSvgEnd;
}

}  // namespace quaff
