#include "quaff/checkpoint_folder.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "llmc/error.h"
#include "llmc/file_io.h"
#include "llmc/sha256.h"

namespace quaff {

using namespace llmc;
namespace fs = std::filesystem;

namespace {

constexpr const char* kPrefix = "checkpoint-";
constexpr const char* kManifest = "manifest.sha256";

// The step of a checkpoint's name, or -1 for any other name.
int64_t step_of(const fs::path& path) {
    const std::string name = path.filename().string();
    const size_t length = std::string(kPrefix).size();
    if (name.rfind(kPrefix, 0) != 0) return -1;
    int64_t step = -1;
    const auto end = std::from_chars(name.data() + length, name.data() + name.size(), step);
    return end.ec == std::errc() && end.ptr == name.data() + name.size() ? step : -1;
}

// Text of a file that holds a few lines; empty when it cannot be read.
std::string read_if_there(const fs::path& path) {
    try {
        return read_file(path);
    } catch (const Error&) {
        return "";
    }
}

void remove_checkpoint(const fs::path& checkpoint) {
    std::error_code ignored;
    fs::remove(checkpoint / kManifest, ignored);  // first: a half-removed checkpoint must not look intact
    fs::remove_all(checkpoint, ignored);
}

}  // namespace

void write_folder(const fs::path& target, const std::function<void(const fs::path&)>& write) {
    const fs::path parent = target.has_parent_path() ? target.parent_path() : fs::path(".");
    const fs::path temporary = parent / ("." + target.filename().string() + ".tmp");
    const fs::path replaced = parent / ("." + target.filename().string() + ".old");
    std::error_code problem;
    make_directories(parent);
    fs::remove_all(temporary, problem);  // of a run that was killed while it wrote
    fs::remove_all(replaced, problem);
    make_directories(temporary);
    try {
        write(temporary);
    } catch (...) {
        fs::remove_all(temporary, problem);
        throw;
    }
    sync_directory(temporary);
    if (fs::exists(target)) fs::rename(target, replaced, problem);
    require(!problem, target.string(), ": the old folder cannot be moved aside (", problem.message(), ")");
    fs::rename(temporary, target, problem);
    require(!problem, target.string(), ": cannot be put in place (", problem.message(), ")");
    sync_directory(parent);
    fs::remove_all(replaced, problem);
}

void write_checkpoint(const fs::path& out, int64_t step, int64_t keep,
                      const std::function<void(const fs::path&)>& write) {
    write_folder(out / (kPrefix + std::to_string(step)), [&](const fs::path& folder) {
        write(folder);
        std::vector<std::string> names;
        for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
        std::sort(names.begin(), names.end());
        std::string manifest;
        for (const std::string& name : names) manifest += sha256_of_file(folder / name) + "  " + name + "\n";
        write_file_atomically(folder / kManifest, manifest);
    });
    if (keep == 0) return;
    const std::vector<fs::path> checkpoints = list_checkpoints(out);
    for (size_t i = static_cast<size_t>(keep); i < checkpoints.size(); ++i) remove_checkpoint(checkpoints[i]);
}

std::vector<fs::path> list_checkpoints(const fs::path& out) {
    std::vector<fs::path> checkpoints;
    std::error_code problem;
    for (const auto& entry : fs::directory_iterator(out, problem))
        if (step_of(entry.path()) >= 0) checkpoints.push_back(entry.path());
    std::sort(checkpoints.begin(), checkpoints.end(),
              [](const fs::path& a, const fs::path& b) { return step_of(a) > step_of(b); });
    return checkpoints;
}

bool is_checkpoint_name(const fs::path& path) {
    const fs::path folder = path.lexically_normal();
    return step_of(folder.filename().empty() ? folder.parent_path() : folder) >= 0;
}

std::string find_damage(const fs::path& checkpoint) {
    const std::string manifest = read_if_there(checkpoint / kManifest);
    if (manifest.empty()) return checkpoint.string() + " has no manifest: it was not written to its end";
    std::istringstream lines(manifest);
    for (std::string line; std::getline(lines, line);) {
        // 64 digits, two blanks, a name without folders.
        if (line.size() < 67 || line.compare(64, 2, "  ") != 0 || line.find('/') != std::string::npos)
            return (checkpoint / kManifest).string() + " is damaged";
        const std::string name = line.substr(66);
        if (!fs::is_regular_file(checkpoint / name)) return (checkpoint / name).string() + " is missing";
        try {
            if (sha256_of_file(checkpoint / name) != line.substr(0, 64))
                return (checkpoint / name).string() + " is not what was written: its checksum differs";
        } catch (const Error& error) {
            return error.what();
        }
    }
    return "";
}

fs::path newest_intact_checkpoint(const fs::path& out, const std::function<void(const std::string&)>& passed_over) {
    const std::vector<fs::path> checkpoints = list_checkpoints(out);
    for (const fs::path& checkpoint : checkpoints) {
        const std::string damage = find_damage(checkpoint);
        if (damage.empty()) return checkpoint;
        passed_over(damage);
    }
    fail(out.string(), checkpoints.empty() ? ": there is no checkpoint to resume from" : ": no checkpoint is intact",
         "; start without --resume");
}

bool set_earlier_run_aside(const fs::path& out) {
    std::vector<fs::path> found = list_checkpoints(out);
    if (found.empty()) return false;
    const fs::path earlier = out / "earlier";
    std::error_code problem;
    fs::remove_all(earlier, problem);
    make_directories(earlier);
    for (const char* name : {"log.jsonl", "config.toml"})
        if (fs::exists(out / name)) found.push_back(out / name);
    for (const fs::path& path : found) {
        fs::rename(path, earlier / path.filename(), problem);
        require(!problem, path.string(), ": cannot be moved to ", earlier.string(), " (", problem.message(), ")");
    }
    return true;
}

}  // namespace quaff
