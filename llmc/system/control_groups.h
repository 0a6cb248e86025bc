// The control groups around this process, through which Linux limits a container or a batch job.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace llmc {

struct ControlGroup {
    std::string folder;  // of the files that describe it
    bool v2;             // the files of version 1 have other names
};

// Those that may limit what `controller` ("memory", "cpu") hands out, from our own group up to the root's. Any of them
// may be the tightest. `root` is prepended to /proc and /sys paths, for the tests.
std::vector<ControlGroup> control_groups(const std::string& controller, const std::string& root = "");

// The first number of a file such as memory.max; nothing for "max" or a missing file.
std::optional<int64_t> read_number(const std::string& path);

}  // namespace llmc
