#include "quaff/files/checkpoint_folder.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <sstream>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "llmc/io/sha256.h"

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

// "out/checkpoint-40/" without the slash that hides its name.
fs::path without_slash(const fs::path& path) {
    const fs::path normal = path.lexically_normal();
    return normal.has_filename() || !normal.has_relative_path() ? normal : normal.parent_path();
}

fs::path parent_of(const fs::path& path) {
    return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

// Where the old folder lies for the moment between two renames.
fs::path replaced_name(const fs::path& target) {
    return parent_of(target) / ("." + target.filename().string() + ".old");
}

// A run that was killed between the two renames left only the old folder, under its other name.
void restore_replaced(const fs::path& target) {
    const fs::path replaced = replaced_name(target);
    std::error_code problem;
    if (fs::exists(fs::symlink_status(target)) || !fs::is_directory(replaced)) return;
    fs::rename(replaced, target, problem);
    require(!problem, replaced.string(), ": cannot be moved back to ", target.string(), " (", problem.message(), ")");
}

void restore_checkpoints(const fs::path& out) {
    std::vector<fs::path> replaced;
    std::error_code problem;
    for (const auto& entry : fs::directory_iterator(out, problem)) {
        const std::string name = entry.path().filename().string();
        if (name.starts_with(concat(".", kPrefix)) && name.ends_with(".old"))
            replaced.push_back(out / name.substr(1, name.size() - 5));
    }
    for (const fs::path& checkpoint : replaced) restore_replaced(checkpoint);
}

// The process of a temporary name, .NAME.PID-N.tmp, or 0 for any other.
int process_of(const std::string& temporary) {
    if (!temporary.starts_with(".") || !temporary.ends_with(".tmp")) return 0;
    const size_t dot = temporary.rfind('.', temporary.size() - 5);
    int process = 0, number = 0, length = 0;
    const bool matches = ::sscanf(temporary.c_str() + dot, ".%d-%d.tmp%n", &process, &number, &length) == 2 &&
                         dot + static_cast<size_t>(length) == temporary.size();
    return matches && dot > 0 ? std::max(process, 0) : 0;
}

bool has_ended(int process) {
    return ::kill(process, 0) != 0 && errno == ESRCH;
}

// A new folder .NAME.PID-N.tmp next to the target. Those of processes that have ended, killed while they wrote, go.
fs::path make_temporary(const fs::path& target) {
    static std::atomic<int> counter{0};
    const std::string prefix = "." + target.filename().string() + ".";
    std::vector<fs::path> abandoned;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(parent_of(target), ignored)) {
        const std::string name = entry.path().filename().string();
        const int process = name.starts_with(prefix) ? process_of(name) : 0;
        if (process > 0 && has_ended(process)) abandoned.push_back(entry.path());
    }
    for (const fs::path& folder : abandoned) fs::remove_all(folder, ignored);
    while (true) {
        const fs::path folder = parent_of(target) / concat(prefix, ::getpid(), "-", counter++, ".tmp");
        if (make_private_directory(folder)) return folder;
    }
}

// out/earlier, or the first of out/earlier-2, out/earlier-3, ... that does not exist: nothing is ever overwritten.
fs::path make_earlier_folder(const fs::path& out) {
    for (int64_t i = 1;; ++i) {
        const fs::path folder = out / (i == 1 ? "earlier" : "earlier-" + std::to_string(i));
        std::error_code problem;
        if (fs::create_directory(folder, problem)) return folder;
        // A file of that name is a problem for create_directory, for us it is one more name that is taken.
        require(!problem || fs::exists(fs::symlink_status(folder)), folder.string(),
                ": cannot create the directory: ", problem.message());
    }
}

// Has `write` fill a temporary folder, and `put` give it the name.
template <class Put>
void fill_folder(const fs::path& name, const std::function<void(const fs::path&)>& write, const Put& put) {
    const fs::path target = without_slash(name);
    make_directories(parent_of(target));
    const fs::path temporary = make_temporary(target);
    try {
        write(temporary);
        publish_directory(temporary);
        sync_directory(temporary);
        put(temporary, target);
    } catch (...) {
        std::error_code ignored;
        fs::remove_all(temporary, ignored);
        throw;
    }
}

void move_into(const fs::path& folder, const fs::path& path) {
    std::error_code problem;
    fs::rename(path, folder / path.filename(), problem);
    require(!problem, path.string(), ": cannot be moved to ", folder.string(), " (", problem.message(), ")");
}

}  // namespace

void replace_folder(const fs::path& temporary, const fs::path& target, bool may_exchange) {
    std::error_code problem, ignored;
    const fs::path replaced = replaced_name(target);
    restore_replaced(target);
    if (!fs::exists(fs::symlink_status(target))) {
        fs::rename(temporary, target, problem);
        require(!problem, target.string(), ": cannot be put in place (", problem.message(), ")");
        sync_directory(parent_of(target));
    } else if (may_exchange &&
               ::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) == 0) {
        sync_directory(parent_of(target));
        fs::remove_all(temporary, ignored);  // now the old one
    } else {
        fs::remove_all(replaced, ignored);  // the target is there, so this one was replaced long ago
        fs::rename(target, replaced, problem);
        require(!problem, target.string(), ": the old folder cannot be moved aside (", problem.message(), ")");
        fs::rename(temporary, target, problem);
        if (problem) fs::rename(replaced, target, ignored);
        require(!problem, target.string(), ": cannot be put in place (", problem.message(), ")");
        sync_directory(parent_of(target));
        fs::remove_all(replaced, ignored);
    }
}

void write_folder(const fs::path& name, const std::function<void(const fs::path&)>& write) {
    fill_folder(name, write,
                [](const fs::path& temporary, const fs::path& target) { replace_folder(temporary, target); });
}

void write_new_folder(const fs::path& name, const std::function<void(const fs::path&)>& write) {
    fill_folder(name, write, [](const fs::path& temporary, const fs::path& target) {
        std::error_code problem;
        fs::rename(temporary, target, problem);  // refused where the target is a folder with something in it
        require(!problem, target.string(), ": cannot be put in place (", problem.message(),
                "); something has come to have that name meanwhile");
        sync_directory(parent_of(target));
    });
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
    int64_t intact = 1;  // the one just written
    for (const fs::path& checkpoint : list_checkpoints(out)) {
        if (step_of(checkpoint) >= step) continue;
        if (intact >= keep)
            remove_checkpoint(checkpoint);
        else if (find_damage(checkpoint).empty())
            ++intact;
    }
}

void remove_leftovers(const fs::path& out) {
    std::vector<fs::path> abandoned;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(out, ignored)) {
        const int process = process_of(entry.path().filename().string());
        if (process > 0 && (process == ::getpid() || has_ended(process))) abandoned.push_back(entry.path());
    }
    for (const fs::path& path : abandoned) fs::remove_all(path, ignored);
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

fs::path checkpoint_to_resume(const fs::path& resume, const std::function<void(const std::string&)>& passed_over) {
    const fs::path folder = without_slash(resume);
    if (!is_checkpoint(folder)) return newest_intact_checkpoint(folder, passed_over);
    const std::string damage = find_damage(folder);
    require(damage.empty(), damage, "; --resume with the run's folder takes its newest intact checkpoint");
    return folder;
}

fs::path newest_intact_checkpoint(const fs::path& out, const std::function<void(const std::string&)>& passed_over) {
    restore_checkpoints(out);
    const std::vector<fs::path> checkpoints = list_checkpoints(out);
    for (const fs::path& checkpoint : checkpoints) {
        const std::string damage = find_damage(checkpoint);
        if (damage.empty()) return checkpoint;
        passed_over(damage);
    }
    fail(out.string(), checkpoints.empty() ? ": there is no checkpoint to resume from" : ": no checkpoint is intact",
         "; start without --resume");
}

fs::path set_earlier_run_aside(const fs::path& out) {
    std::vector<fs::path> found = list_checkpoints(out);
    for (const char* name : {"log.jsonl", "adapter"})
        if (fs::exists(out / name)) found.push_back(out / name);
    if (found.empty()) return {};
    // These two may also have been put there for the run that begins: alone they are no trace of an earlier one.
    for (const char* name : {"config.toml", "outliers.json"})
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
    if (fs::exists(out / "log.jsonl")) fs::copy_file(out / "log.jsonl", earlier / "log.jsonl");
    return earlier;
}

}  // namespace quaff
