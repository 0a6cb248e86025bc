#include "quaff/run/training/stability_map.h"

#include "test/catch.h"

using namespace quaff;
using Catch::Matchers::ContainsSubstring;

namespace {

size_t count(const std::string& text, const std::string& part) {
    size_t n = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) n++;
    return n;
}

}  // namespace

TEST_CASE("ossh.svg has a path for each colour of a panel, a rectangle for each run of cells", "[ossh]") {
    // Three steps: the first layer goes from all to half, the second has no hit, the third no figure.
    const std::string map = stability_map("A & B", {{"down_proj", {{{1, 1}, {2, 1}, {3, 0.5}}, {{1, 0}, {3, 0}}, {}}}});
    CHECK_THAT(map, Catch::Matchers::StartsWith("<svg xmlns="));
    CHECK_THAT(map, Catch::Matchers::EndsWith("</svg>\n"));
    CHECK_THAT(map, ContainsSubstring(">A &amp; B</text>"));
    CHECK_THAT(map, ContainsSubstring(">down_proj</text>"));
    CHECK(count(map, "<path ") == 2);
    // 680 pixels for three steps, 18 for a layer; the first layer is the lowest.
    CHECK_THAT(map, ContainsSubstring("fill-opacity=\"1.00\" d=\"M60.0 128.0h453.3v18.0h-453.3z\""));
    CHECK_THAT(map, ContainsSubstring("fill-opacity=\"0.50\" d=\"M513.3 128.0h226.7v18.0h-226.7z\""));
}

TEST_CASE("many steps share cells, whose colour is their mean", "[ossh]") {
    std::vector<HitRate> layer;
    for (int64_t step = 1; step <= 1700; step++) layer.push_back({step, step % 2 ? 1.0 : 0.4});
    const std::string map = stability_map("", {{"o_proj", {layer}}});
    CHECK(count(map, "<path ") == 1);
    CHECK_THAT(map, ContainsSubstring("fill-opacity=\"0.70\" d=\"M60.0 92.0h680.0v18.0h-680.0z\""));
    CHECK_THAT(map, ContainsSubstring(">1700</text>"));
}

TEST_CASE("a run without a hit rate has a picture all the same", "[ossh]") {
    CHECK_THAT(stability_map("", {{"o_proj", {{}, {}}}}), Catch::Matchers::EndsWith("</svg>\n"));
    CHECK_THAT(stability_map("", {}), Catch::Matchers::EndsWith("</svg>\n"));
}
