#include "quaff/cli/demo.h"

#include <filesystem>
#include <system_error>

namespace quaff::cli {

namespace fs = std::filesystem;

std::string demo_folder() {
    std::error_code ignored;
    return demo_folder(fs::read_symlink("/proc/self/exe", ignored));
}

std::string demo_folder(const fs::path& program) {
    const std::string in_sources = "dev/demo";
    std::error_code ignored;
    if (fs::exists(in_sources, ignored)) return in_sources;
    const fs::path installed = program.parent_path().parent_path() / "share" / "train_quaff" / "demo";
    return fs::exists(installed, ignored) ? installed.string() : in_sources;
}

}  // namespace quaff::cli
