#include "llmc/training/log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"

namespace llmc {

JsonLog::JsonLog(const std::string& path, const Keep& keep) : path_(path) {
    std::string kept;
    if (keep && std::filesystem::exists(path)) {
        std::istringstream earlier(read_file(path));
        for (std::string line; std::getline(earlier, line);) {
            const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
            // A last line that a kill cut off is not JSON and is dropped.
            if (object.is_object() && keep(object)) kept += line + "\n";
        }
    }
    // A new file replaces the old one: a kill or a full disk leaves one or the other.
    write_file_atomically(path, kept);
    fd_ = ::open(path.c_str(), O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
    require(fd_ >= 0, path, ": cannot be written (", std::strerror(errno), ")");
}

JsonLog::~JsonLog() {
    ::close(fd_);
}

std::string JsonLog::write(const nlohmann::ordered_json& object) {
    unwritten_ += object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    while (!unwritten_.empty()) {
        const ssize_t count = ::write(fd_, unwritten_.data(), unwritten_.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return concat(path_, ": cannot write the log: ", std::strerror(errno));
        unwritten_.erase(0, static_cast<size_t>(count));  // the rest of a line cut short comes next
    }
    return "";
}

JsonLog::Keep up_to_step(int64_t step) {
    return [step](const nlohmann::json& line) {
        const auto logged = line.find("step");
        return logged == line.end() || !logged->is_number() || logged->get<double>() <= static_cast<double>(step);
    };
}

}  // namespace llmc
