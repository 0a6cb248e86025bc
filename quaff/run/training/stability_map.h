// ossh.svg: how many of the channels that each step's batch has for outliers were among those chosen before training.
//
//   a panel    for each kind of linear
//   up         the layers, the first at the bottom
//   across     the steps; where there are many, each cell is the mean of several
//   colour     the hit rate, from 0% (as the background) to 100% (darkest on light, brightest on dark)
//
// Nothing is drawn where a layer has no outlier channel.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace quaff {

struct HitRate {
    int64_t step;
    double value;  // 0 .. 1
};

struct StabilityPanel {
    std::string title;
    std::vector<std::vector<HitRate>> layers;  // steps ascending
};

std::string stability_map(const std::string& title, const std::vector<StabilityPanel>& panels);

}  // namespace quaff
