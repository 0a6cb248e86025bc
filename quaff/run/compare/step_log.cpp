#include "quaff/run/compare/step_log.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/io/json.h"

namespace quaff {

using namespace llmc;

std::vector<double> steady_step_seconds(const std::filesystem::path& log) {
    constexpr size_t kWarmUp = 2;
    std::vector<double> seconds;
    std::ifstream file(log);
    int64_t number = 0;
    for (std::string line; std::getline(file, line);) {
        const nlohmann::json entry = parse_json(line, concat(log.string(), " line ", ++number));
        if (entry.contains("step_seconds")) seconds.push_back(entry["step_seconds"]);
    }
    require(!seconds.empty(), log.string(), " has no step whose time could be compared");
    const size_t dropped = std::min(kWarmUp, seconds.size() / 3);
    seconds.erase(seconds.begin(), seconds.begin() + static_cast<int64_t>(dropped));
    return seconds;
}

}  // namespace quaff
