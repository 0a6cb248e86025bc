// What the program's SVG pictures share. Text and lines follow the reader's light or dark theme.
#pragma once

#include <string>

namespace quaff {

// The picture up to its first shape. light, dark: more CSS rules for each theme.
std::string svg_begin(double width, double height, const std::string& light, const std::string& dark);
// Any text, escaped. attributes: more of the element's, each with a blank before it.
std::string svg_text(double x, double y, const char* attributes, const std::string& text);
// class="grid" is the faint colour of lines.
std::string svg_line(double x1, double y1, double x2, double y2);
inline constexpr const char* kSvgEnd = "</svg>\n";

}  // namespace quaff
