// A chart of curves as inline SVG, small however many points they have.
//
//   decimated   each of a chart's columns keeps its lowest and highest point, so no extreme is lost
//   smoothed    exponential mean, corrected for its start: m_t = b m_{t-1} + (1 - b) x_t, drawn as m_t / (1 - b^t)
//
// Colours are classes (c0 .. c7) of the page around it. Points that are not finite are left out.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace quaff {

struct Point {
    double x, y;
};

struct Curve {
    std::string name;           // for the reader who points at it
    int colour = 0;             // 0 .. 7
    std::string style;          // more classes: faint, dashed
    bool with_dots = false;     // a dot at each point
    bool without_line = false;  // dots alone
    std::vector<Point> points;  // x ascending
};

inline constexpr int kColours = 8;

// How an axis writes its values.
enum class Unit { number, percent, bytes };
std::string axis_text(double value, Unit unit);

// At most 2 `columns` + 2 points, among them the first, the last, the lowest and the highest.
std::vector<Point> decimate(const std::vector<Point>& points, size_t columns);
// `window`: steps that the mean reaches back; 1 changes nothing.
std::vector<Point> smooth(const std::vector<Point>& points, double window);
// Some `count` round values that span [low, high]: the first is at most low, the last at least high.
std::vector<double> ticks(double low, double high, int count);

// "" if no curve has a point. `columns`: of decimation.
std::string chart(const std::string& title, Unit unit, const std::vector<Curve>& curves, size_t columns);

}  // namespace quaff
