#include "llmc/log.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "llmc/error.h"
#include "llmc/file_io.h"

namespace llmc {

JsonLog::JsonLog(const std::string& path, const Keep& keep) : path_(path) {
    std::string kept;
    if (keep && std::filesystem::exists(path)) {
        std::istringstream earlier(read_file(path));
        for (std::string line; std::getline(earlier, line);) {
            const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
            // A last line that was cut off by a kill is no JSON and is dropped.
            if (object.is_object() && keep(object)) kept += line + "\n";
        }
    }
    // A new file takes the place of the old one: a kill or a full disk leaves the one or the other.
    write_file_atomically(path, kept);
    file_.reset(std::fopen(path.c_str(), "ae"));
    require(file_ != nullptr, path, ": cannot be written (", std::strerror(errno), ")");
}

void JsonLog::write(const nlohmann::ordered_json& object) {
    const std::string line = object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    const bool written =
        std::fwrite(line.data(), 1, line.size(), file_.get()) == line.size() && std::fflush(file_.get()) == 0;
    require(written, path_, ": writing failed (", std::strerror(errno), "); is the disk full?");
}

JsonLog::Keep up_to_step(int64_t step) {
    return [step](const nlohmann::json& line) {
        const auto logged = line.find("step");
        return logged == line.end() || !logged->is_number() || logged->get<double>() <= static_cast<double>(step);
    };
}

}  // namespace llmc
