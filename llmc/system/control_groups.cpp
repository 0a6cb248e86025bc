#include "llmc/system/control_groups.h"

#include <fstream>

namespace llmc {

// Lines of /proc/self/cgroup: "0::/a/b" (v2), "5:memory:/a/b" (v1).
std::vector<ControlGroup> control_groups(const std::string& controller, const std::string& root) {
    std::vector<ControlGroup> groups;
    std::ifstream file(root + "/proc/self/cgroup");
    for (std::string line; std::getline(file, line);) {
        const size_t first = line.find(':');
        const size_t second = line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
        const bool v2 = controllers == ",,";
        if (!v2 && controllers.find("," + controller + ",") == std::string::npos) continue;
        const std::string mount = root + (v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/" + controller);
        std::string group = line.substr(second + 1);
        while (!group.empty() && group.back() == '/') group.pop_back();
        for (;;) {
            groups.push_back({mount + group, v2});
            if (group.empty()) break;
            const size_t parent = group.rfind('/');
            group.resize(parent == std::string::npos ? 0 : parent);
        }
    }
    return groups;
}

std::optional<int64_t> read_number(const std::string& path) {
    std::ifstream file(path);
    int64_t number = 0;
    if (file >> number) return number;
    return std::nullopt;
}

}  // namespace llmc
