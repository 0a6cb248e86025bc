#include "llmc/io/path.h"

#include "llmc/core/error.h"

namespace llmc {

namespace {

std::filesystem::file_status status_of(const std::filesystem::path& path) {
    std::error_code error;
    const std::filesystem::file_status status = std::filesystem::status(path, error);
    // A path that does not exist is no error: its status says so.
    if (error && status.type() != std::filesystem::file_type::not_found) {
        constexpr size_t kLongest = 200;
        const std::string name = path.string();
        fail(name.size() > kLongest ? name.substr(0, kLongest) + "..." : name, ": cannot be reached: ", error.message(),
             error == std::errc::permission_denied ? "; you need permission to enter every folder on the way" : "");
    }
    return status;
}

}  // namespace

bool path_exists(const std::filesystem::path& path) {
    return std::filesystem::exists(status_of(path));
}

bool path_is_directory(const std::filesystem::path& path) {
    return std::filesystem::is_directory(status_of(path));
}

std::filesystem::path without_slash(const std::filesystem::path& path) {
    const std::filesystem::path normal = path.lexically_normal();
    return normal.has_filename() || !normal.has_relative_path() ? normal : normal.parent_path();
}

std::filesystem::path parent_of(const std::filesystem::path& path) {
    return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

}  // namespace llmc
