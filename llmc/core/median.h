// The median, by which timings are reported: a few slow runs do not move it.
#pragma once

#include <algorithm>
#include <vector>

namespace llmc {

// The middle value, or the mean of the two in the middle. `values` are not empty.
inline double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::ranges::nth_element(values, middle);
    if (values.size() % 2 == 1) return *middle;
    return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

}  // namespace llmc
