#include "llmc/log.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "llmc/error.h"

namespace llmc {

JsonLog::JsonLog(const std::string& path, int64_t resumed_step) : path_(path) {
    std::vector<std::string> kept;
    if (resumed_step > 0) {
        std::ifstream earlier(path);
        for (std::string line; std::getline(earlier, line);) {
            const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
            // A last line that was cut off by a kill is no JSON and is dropped.
            if (object.is_object() && object.value("step", int64_t{0}) <= resumed_step) kept.push_back(line);
        }
    }
    file_.reset(std::fopen(path.c_str(), "w"));
    require(file_ != nullptr, path, ": cannot be written (", std::strerror(errno), ")");
    for (const std::string& line : kept) std::fprintf(file_.get(), "%s\n", line.c_str());
}

void JsonLog::write(const nlohmann::ordered_json& object) {
    const std::string line = object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    const bool written =
        std::fwrite(line.data(), 1, line.size(), file_.get()) == line.size() && std::fflush(file_.get()) == 0;
    require(written, path_, ": writing failed (", std::strerror(errno), "); is the disk full?");
}

}  // namespace llmc
