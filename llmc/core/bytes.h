// Sizes for a person.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace llmc {

// "512 B", "1.25 GiB": in the largest unit of which there is at least one.
inline std::string format_bytes(int64_t bytes) {
    constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = static_cast<double>(bytes);
    int unit = 0;
    while (value >= 1024 && unit < 4) value /= 1024, unit++;
    char text[32];
    std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.2f %s", value, kUnits[unit]);
    return text;
}

}  // namespace llmc
