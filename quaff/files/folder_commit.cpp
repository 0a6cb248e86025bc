#include "quaff/files/folder_commit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <string>
#include <system_error>
#include <vector>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "llmc/io/path.h"

namespace quaff {

using namespace llmc;
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kReplaced = ".old";
constexpr std::string_view kTemporary = ".tmp";

fs::path replaced_name(const fs::path& target) {
    return parent_of(target) / concat(".", target.filename().string(), kReplaced);
}

// The process of a temporary name, .NAME.PID-N.tmp, or 0 for any other name.
int process_of(const std::string& temporary) {
    if (!temporary.starts_with(".") || !temporary.ends_with(kTemporary)) return 0;
    const size_t dot = temporary.rfind('.', temporary.size() - kTemporary.size() - 1);
    int process = 0, number = 0, length = 0;
    const bool matches = ::sscanf(temporary.c_str() + dot, ".%d-%d.tmp%n", &process, &number, &length) == 2 &&
                         dot + static_cast<size_t>(length) == temporary.size();
    return matches && dot > 0 ? std::max(process, 0) : 0;
}

bool has_ended(int process) {
    return ::kill(process, 0) != 0 && errno == ESRCH;
}

// Removes everything in `parent` with a temporary name that starts with `prefix`, if abandoned(its process).
template <class Abandoned>
void remove_temporaries(const fs::path& parent, const std::string& prefix, const Abandoned& abandoned) {
    std::vector<fs::path> found;  // the folder is not changed while it is read
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(parent, ignored)) {
        const std::string name = entry.path().filename().string();
        const int process = name.starts_with(prefix) ? process_of(name) : 0;
        if (process > 0 && abandoned(process)) found.push_back(entry.path());
    }
    for (const fs::path& path : found) fs::remove_all(path, ignored);
}

// Invariant 5, and the start of 1: removes the temporary folders of ended processes and makes a new one beside
// `target`.
fs::path make_temporary(const fs::path& target) {
    static std::atomic<int> counter{0};
    const std::string prefix = "." + target.filename().string() + ".";
    remove_temporaries(parent_of(target), prefix, has_ended);
    while (true) {
        const fs::path folder = parent_of(target) / concat(prefix, ::getpid(), "-", counter++, kTemporary);
        if (make_private_directory(folder)) return folder;
    }
}

// Invariants 1 and 6: `write` fills a temporary folder, `put` gives it the name. A failure leaves no trace.
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

// Invariants 1 and 7: one rename gives the folder the name, which is free or that of an empty folder.
void put_in_place(const fs::path& temporary, const fs::path& target, const char* advice = "") {
    std::error_code problem;
    fs::rename(temporary, target, problem);
    require(!problem, target.string(), ": cannot be put in place (", problem.message(), ")", advice);
    sync_directory(parent_of(target));
}

// Invariant 2. False where the file system cannot do it; nothing has changed then.
bool exchange_folders(const fs::path& temporary, const fs::path& target) {
    if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) != 0) return false;
    sync_directory(parent_of(target));
    std::error_code ignored;
    fs::remove_all(temporary, ignored);  // now the old one
    return true;
}

// Invariant 3.
void replace_by_two_renames(const fs::path& temporary, const fs::path& target) {
    const fs::path replaced = replaced_name(target);
    std::error_code problem, ignored;
    fs::remove_all(replaced, ignored);  // TARGET is there, so this one was replaced long ago
    fs::rename(target, replaced, problem);
    require(!problem, target.string(), ": the old folder cannot be moved aside (", problem.message(), ")");
    fs::rename(temporary, target, problem);
    if (problem) fs::rename(replaced, target, ignored);
    require(!problem, target.string(), ": cannot be put in place (", problem.message(), ")");
    sync_directory(parent_of(target));
    fs::remove_all(replaced, ignored);
}

// Invariant 4, for one folder.
void restore_folder(const fs::path& target) {
    const fs::path replaced = replaced_name(target);
    if (fs::exists(fs::symlink_status(target)) || !fs::is_directory(replaced)) return;
    std::error_code problem;
    fs::rename(replaced, target, problem);
    require(!problem, replaced.string(), ": cannot be moved back to ", target.string(), " (", problem.message(), ")");
}

}  // namespace

void replace_folder(const fs::path& temporary, const fs::path& target, bool may_exchange) {
    restore_folder(target);
    if (!fs::exists(fs::symlink_status(target))) return put_in_place(temporary, target);
    if (may_exchange && exchange_folders(temporary, target)) return;
    replace_by_two_renames(temporary, target);
}

void write_folder(const fs::path& name, const std::function<void(const fs::path&)>& write) {
    fill_folder(name, write,
                [](const fs::path& temporary, const fs::path& target) { replace_folder(temporary, target); });
}

void write_new_folder(const fs::path& name, const std::function<void(const fs::path&)>& write) {
    fill_folder(name, write, [](const fs::path& temporary, const fs::path& target) {
        put_in_place(temporary, target, "; something else has taken the name meanwhile; choose another name");
    });
}

void restore_folders(const fs::path& parent, std::string_view prefix) {
    std::vector<fs::path> replaced;
    std::error_code problem;
    for (const auto& entry : fs::directory_iterator(parent, problem)) {
        const std::string name = entry.path().filename().string();
        if (name.starts_with(concat(".", prefix)) && name.ends_with(kReplaced))
            replaced.push_back(parent / name.substr(1, name.size() - 1 - kReplaced.size()));
    }
    for (const fs::path& target : replaced) restore_folder(target);
}

void remove_leftovers(const fs::path& parent) {
    remove_temporaries(parent, "", [](int process) { return process == ::getpid() || has_ended(process); });
}

}  // namespace quaff
