#include "quaff/run/report/curve.h"

#include <algorithm>
#include <cmath>

#include "llmc/core/bytes.h"
#include "llmc/core/error.h"
#include "llmc/core/markup.h"
#include "llmc/system/terminal.h"

namespace quaff {

using namespace llmc;

namespace {

// All in pixels.
constexpr double kWidth = 420, kHeight = 220;
constexpr double kLeft = 58, kRight = 408, kTop = 10, kBottom = 194;  // of the plotted area
constexpr double kCharacter = 7;                                      // of an axis' text, at most

struct Extent {
    double low = INFINITY, high = -INFINITY;

    void add(double value) { low = std::min(low, value), high = std::max(high, value); }
};

struct Axis {
    std::vector<double> ticks;
    double low, high, first_pixel, last_pixel;

    double at(double value) const { return first_pixel + (last_pixel - first_pixel) * ((value - low) / (high - low)); }
};

bool is_drawn(const Point& point) {
    constexpr double kMost = 1e300;  // a difference of two is finite
    return std::abs(point.x) < kMost && std::abs(point.y) < kMost;
}

// Steps are whole, and their axis ends where they do; the other one ends at round values.
Axis across(Extent steps) {
    if (steps.low == steps.high) steps.low -= 1, steps.high += 1;
    std::vector<double> marks = ticks(steps.low, steps.high, 5);
    std::erase_if(marks,
                  [&](double mark) { return mark < steps.low || mark > steps.high || mark != std::round(mark); });
    return {marks, steps.low, steps.high, kLeft, kRight};
}

Axis up(Extent values, Unit unit) {
    // Noise of a value that hardly moves is not blown up to the whole height.
    if (values.high - values.low < 1e-3 * std::max(std::abs(values.low), std::abs(values.high)) ||
        values.low == values.high) {
        values.add(0);
        if (values.low == values.high) values.high = 1;
    }
    if (unit != Unit::number || (values.low > 0 && values.low < values.high / 2))
        values.low = std::min(values.low, 0.0);
    if (unit == Unit::bytes) {  // round in GiB, or what is nearest
        const double size = std::pow(1024, std::floor(std::log2(std::max(values.high, 1.0)) / 10));
        std::vector<double> marks = ticks(values.low / size, values.high / size, 4);
        for (double& mark : marks) mark *= size;
        return {marks, marks.front(), marks.back(), kBottom, kTop};
    }
    const std::vector<double> marks = ticks(values.low, values.high, 4);
    return {marks, marks.front(), marks.back(), kBottom, kTop};
}

std::string axes(const Axis& x, const Axis& y, Unit unit) {
    std::string svg;
    for (const double mark : y.ticks)
        svg += format("<path class=\"grid\" d=\"M%.0f %.1fH%.0f\"/><text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">",
                      kLeft, y.at(mark), kRight, kLeft - 6, y.at(mark) + 4) +
               axis_text(mark, unit) + "</text>";
    for (const double mark : x.ticks) {
        const std::string text = axis_text(mark, Unit::number);
        const double half = kCharacter / 2 * static_cast<double>(text.size());
        svg += format("<text x=\"%.1f\" y=\"%.0f\" text-anchor=\"middle\">", std::min(x.at(mark), kWidth - half),
                      kBottom + 18) +
               text + "</text>";
    }
    return svg + "\n";
}

std::string line_of(const Curve& curve, const std::vector<Point>& points, const Axis& x, const Axis& y) {
    std::string path;
    for (const Point& point : points)
        path += format("%c%.1f %.1f", path.empty() ? 'M' : 'L', x.at(point.x), y.at(point.y));
    return format("<path class=\"line c%d ", curve.colour) + curve.style + "\" d=\"" + path + "\"><title>" +
           escape_markup(curve.name) + "</title></path>\n";
}

std::string dots_of(const Curve& curve, const std::vector<Point>& points, const Axis& x, const Axis& y, Unit unit) {
    std::string svg;
    for (const Point& point : points)
        svg += format("<circle class=\"dot c%d ", curve.colour) + curve.style +
               format("\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"><title>", x.at(point.x), y.at(point.y),
                      curve.without_line ? "3.5" : "2.5") +
               escape_markup(curve.name) + format(", step %.0f: ", point.x) + axis_text(point.y, unit) +
               "</title></circle>\n";
    return svg;
}

// Without a rounding error's tail: 0.30000000000000004.
double rounded_to(double step, double value) {
    const double power = std::pow(10, std::ceil(-std::log10(step)) + 1);
    return std::isfinite(power) && power > 1 ? std::round(value * power) / power : value;
}

}  // namespace

std::string axis_text(double value, Unit unit) {
    if (unit == Unit::percent) return format("%.4g%%", 100 * value);
    if (unit == Unit::bytes) {
        if (value < 1) return "0";
        std::string text = format_bytes(static_cast<int64_t>(std::min(value, 9e18)));
        if (const size_t zeros = text.find(".00 "); zeros != std::string::npos) text.erase(zeros, 3);
        return text;
    }
    if (value != 0 && std::abs(value) < 1e-3) return format("%.4g", value);
    return std::abs(value) >= 1e4 && std::abs(value) < 1e9 ? format_count(std::llround(value)) : format("%.4g", value);
}

std::vector<Point> decimate(const std::vector<Point>& points, size_t columns) {
    if (points.size() <= 2 * columns + 2 || columns == 0) return points;
    std::vector<Point> kept = {points.front()};
    const size_t inner = points.size() - 2;
    for (size_t column = 0; column < columns; ++column) {
        const auto begin = points.begin() + 1 + static_cast<int64_t>(inner * column / columns),
                   end = points.begin() + 1 + static_cast<int64_t>(inner * (column + 1) / columns);
        const auto by_y = [](const Point& a, const Point& b) { return a.y < b.y; };
        const auto [low, high] = std::minmax_element(begin, end, by_y);
        kept.push_back(*std::min(low, high));
        if (low != high) kept.push_back(*std::max(low, high));
    }
    kept.push_back(points.back());
    return kept;
}

std::vector<Point> smooth(const std::vector<Point>& points, double window) {
    const double beta = 1 - 2 / (window + 1);
    std::vector<Point> smoothed;
    double mean = 0, weight = 0;
    for (const Point& point : points) {
        if (!is_drawn(point)) continue;
        mean = beta * mean + (1 - beta) * point.y;
        weight = beta * weight + (1 - beta);
        smoothed.push_back({point.x, mean / weight});
    }
    return smoothed;
}

std::vector<double> ticks(double low, double high, int count) {
    const double power = std::pow(10, std::floor(std::log10((high - low) / count)));
    double step = 10 * power;
    for (const double factor : {1.0, 2.0, 5.0})
        if (factor * power * count >= (high - low) * (1 - 1e-9)) {
            step = factor * power;
            break;
        }
    std::vector<double> marks;
    const double first = std::floor(low / step + 1e-9);
    for (int i = 0; i <= 2 * count + 2; ++i) {
        marks.push_back(rounded_to(step, (first + i) * step));
        if ((first + i) * step >= high - step * 1e-9) break;
    }
    return marks;
}

std::string chart(const std::string& title, Unit unit, const std::vector<Curve>& curves, size_t columns) {
    std::vector<std::vector<Point>> drawn;
    Extent steps, values;
    for (const Curve& curve : curves) {
        std::vector<Point> points;
        std::ranges::copy_if(curve.points, std::back_inserter(points), is_drawn);
        for (const Point& point : points) steps.add(point.x), values.add(point.y);
        drawn.push_back(decimate(points, curve.without_line || curve.with_dots ? columns / 8 : columns));
    }
    if (steps.low > steps.high) return "";
    const Axis x = across(steps), y = up(values, unit);
    std::string svg = format("<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"", kWidth, kHeight) +
                      escape_markup(title) + "\">\n" + axes(x, y, unit);
    for (size_t i = 0; i < curves.size(); ++i)
        if (!curves[i].without_line && drawn[i].size() > 1) svg += line_of(curves[i], drawn[i], x, y);
    for (size_t i = 0; i < curves.size(); ++i)
        if (curves[i].without_line || curves[i].with_dots || drawn[i].size() == 1)
            svg += dots_of(curves[i], drawn[i], x, y, unit);
    return "<figure><figcaption>" + escape_markup(title) + "</figcaption>\n" + svg + "</svg></figure>\n";
}

}  // namespace quaff
