#include "quaff/files/checkpoint_folder.h"

#include <algorithm>
#include <charconv>
#include <sstream>
#include <string_view>
#include <system_error>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "llmc/io/path.h"
#include "llmc/io/sha256.h"

namespace quaff {

using namespace llmc;
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kPrefix = "checkpoint-";
constexpr const char* kManifest = "manifest.sha256";

// The step of a checkpoint's name, or -1 for any other name.
int64_t step_of(const fs::path& path) {
    const std::string name = path.filename().string();
    if (!name.starts_with(kPrefix)) return -1;
    int64_t step = -1;
    const auto end = std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), step);
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

// Invariant 8: the checksums of all other files, as the last file.
void write_manifest(const fs::path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    std::string manifest;
    for (const std::string& name : names) manifest += sha256_of_file(folder / name) + "  " + name + "\n";
    write_file_atomically(folder / kManifest, manifest);
}

// Invariant 8: the manifest goes first.
void remove_checkpoint(const fs::path& checkpoint) {
    std::error_code ignored;
    fs::remove(checkpoint / kManifest, ignored);
    fs::remove_all(checkpoint, ignored);
}

// Invariant 9, after the checkpoint of `step` was put in place.
void remove_old_checkpoints(const fs::path& out, int64_t step, int64_t keep, int64_t spared) {
    int64_t intact = 1;  // the one just written
    if (spared > 0 && spared < step && keep > 1 && find_damage(out / concat(kPrefix, spared)).empty()) ++intact;
    for (const fs::path& checkpoint : list_checkpoints(out)) {
        if (step_of(checkpoint) >= step || step_of(checkpoint) == spared) continue;
        if (intact >= keep)
            remove_checkpoint(checkpoint);
        else if (find_damage(checkpoint).empty())
            ++intact;
    }
}

// Invariant 11: out/earlier, or the first of out/earlier-2, out/earlier-3, .. that does not exist.
fs::path make_earlier_folder(const fs::path& out) {
    for (int64_t i = 1;; ++i) {
        const fs::path folder = out / (i == 1 ? "earlier" : "earlier-" + std::to_string(i));
        std::error_code problem;
        if (fs::create_directory(folder, problem)) return folder;
        // create_directory fails on a file of that name. For us it is one more name that is taken.
        require(!problem || fs::exists(fs::symlink_status(folder)), folder.string(),
                ": cannot create the directory: ", problem.message());
    }
}

// Invariant 11: `folder` is new, so nothing in it has the name yet.
void move_into(const fs::path& folder, const fs::path& path) {
    std::error_code problem;
    fs::rename(path, folder / path.filename(), problem);
    require(!problem, path.string(), ": cannot be moved to ", folder.string(), " (", problem.message(), ")");
}

}  // namespace

void write_checkpoint(const fs::path& out, int64_t step, int64_t keep,
                      const std::function<void(const fs::path&)>& write, int64_t spared) {
    write_folder(out / concat(kPrefix, step), [&](const fs::path& folder) {
        write(folder);
        write_manifest(folder);
    });
    if (keep > 0) remove_old_checkpoints(out, step, keep, spared);
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

std::string find_damage(const fs::path& checkpoint) {
    const std::string manifest = read_if_there(checkpoint / kManifest);
    if (manifest.empty()) return checkpoint.string() + " has no manifest: it was not written to its end";
    std::istringstream lines(manifest);
    for (std::string line; std::getline(lines, line);) {
        // 64 digits, two blanks, a name without folders.
        if (line.size() < 67 || line.compare(64, 2, "  ") != 0 || line.find('/') != std::string::npos)
            return (checkpoint / kManifest).string() + " is damaged";
        const std::string name = line.substr(66);
        std::error_code unreachable;  // a damaged name may be longer than any file's
        if (!fs::is_regular_file(checkpoint / name, unreachable)) return (checkpoint / name).string() + " is missing";
        try {
            if (sha256_of_file(checkpoint / name) != line.substr(0, 64))
                return (checkpoint / name).string() + " is not what was written: its checksum differs";
        } catch (const Error& error) {
            return error.what();
        }
    }
    return "";
}

bool is_checkpoint(const fs::path& folder) {
    std::error_code ignored;
    return fs::is_regular_file(folder / "state.json", ignored);
}

fs::path run_folder(const fs::path& resume) {
    const fs::path folder = without_slash(resume);
    if (!is_checkpoint(folder)) return folder;
    // "." and ".." have a parent that their spelling does not show.
    const fs::path name = folder.filename();
    return parent_of(name == "." || name == ".." ? fs::canonical(folder) : folder);
}

fs::path checkpoint_to_resume(const fs::path& resume, const std::function<void(const std::string&)>& report_damage) {
    const fs::path folder = without_slash(resume);
    if (!is_checkpoint(folder)) return newest_intact_checkpoint(folder, report_damage);
    const std::string damage = find_damage(folder);
    require(damage.empty(), damage, "; --resume with the run's folder takes its newest intact checkpoint");
    return folder;
}

fs::path newest_intact_checkpoint(const fs::path& out, const std::function<void(const std::string&)>& report_damage) {
    restore_folders(out, kPrefix);
    const std::vector<fs::path> checkpoints = list_checkpoints(out);
    for (const fs::path& checkpoint : checkpoints) {
        const std::string damage = find_damage(checkpoint);
        if (damage.empty()) return checkpoint;
        report_damage(damage);
    }
    fail(out.string(), checkpoints.empty() ? ": there is no checkpoint to resume from" : ": no checkpoint is intact",
         "; start without --resume");
}

fs::path set_earlier_run_aside(const fs::path& out) {
    std::vector<fs::path> found = list_checkpoints(out);
    for (const char* name : {"log.jsonl", "adapter"})
        if (fs::exists(out / name)) found.push_back(out / name);
    if (found.empty()) return {};
    // The user may have put the first two there for the new run. Alone they are no trace of an earlier one.
    for (const char* name : {"config.toml", "outliers.json", "ossh.jsonl", "ossh.svg", "report.html"})
        if (fs::exists(out / name)) found.push_back(out / name);
    const fs::path earlier = make_earlier_folder(out);
    for (const fs::path& path : found) move_into(earlier, path);
    return earlier;
}

fs::path set_later_steps_aside(const fs::path& out, int64_t step) {
    std::vector<fs::path> later = list_checkpoints(out);
    std::erase_if(later, [&](const fs::path& checkpoint) { return step_of(checkpoint) <= step; });
    if (later.empty()) return {};
    const fs::path earlier = make_earlier_folder(out);
    for (const fs::path& checkpoint : later) move_into(earlier, checkpoint);
    if (fs::exists(out / "adapter")) move_into(earlier, out / "adapter");
    for (const char* name : {"log.jsonl", "ossh.jsonl"})
        if (fs::exists(out / name)) fs::copy_file(out / name, earlier / name);
    return earlier;
}

}  // namespace quaff
