#include "quaff/run/svg.h"

#include "llmc/core/markup.h"
#include "llmc/system/terminal.h"

namespace quaff {

using namespace llmc;

std::string svg_begin(double width, double height, const std::string& light, const std::string& dark) {
    return format(
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" font-family=\"sans-serif\" "
               "font-size=\"13\">\n"
               "  <style>\n"
               "    text { fill: #1f2328 } .grid { stroke: #d0d7de } ",
               width, height) +
           light +
           "\n"
           "    @media (prefers-color-scheme: dark) {\n"
           "      text { fill: #e6edf3 } .grid { stroke: #3d444d } " +
           dark +
           "\n"
           "    }\n"
           "  </style>\n";
}

std::string svg_text(double x, double y, const char* attributes, const std::string& text) {
    return format("  <text x=\"%.1f\" y=\"%.1f\"%s>", x, y, attributes) + escape_markup(text) + "</text>\n";
}

std::string svg_line(double x1, double y1, double x2, double y2) {
    return format("  <line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", x1, y1, x2, y2);
}

}  // namespace quaff
