#include "quaff/run/training/out_folder.h"

#include <filesystem>

#include "llmc/core/error.h"
#include "quaff/files/checkpoint_folder.h"
#include "quaff/files/outliers.h"

namespace quaff {

namespace fs = std::filesystem;

void OutFolder::claim() {
    make_directories(path_);
    lock_.emplace(path_);
    remove_leftovers(path_);
}

void OutFolder::begin(const std::string& config, const StartingPoint& start, const std::string& resumed_from,
                      int64_t step, int64_t best) {
    const fs::path out = path_, origin = resumed_from.empty() ? "" : run_folder(resumed_from);
    const bool continues_here = !resumed_from.empty() && fs::equivalent(origin, out);
    const fs::path aside = continues_here ? set_later_steps_aside(out, step) : set_earlier_run_aside(out);
    if (!aside.empty())
        terminal_.warn(continues_here ? concat("what came after step ", step, " is now in ", aside.string())
                                      : concat(path_, " held an earlier run; it is now in ", aside.string(),
                                               " (--resume would have continued it)"));
    write_file_atomically(out / "config.toml", config);
    if (continues_here) return;
    if (linear_method(start.method).outliers) write_outlier_channels(out / "outliers.json", start.outliers);
    if (resumed_from.empty()) return;
    for (const char* name : {"log.jsonl", "ossh.jsonl"})
        if (fs::exists(origin / name)) fs::copy_file(origin / name, out / name);
    const std::string checkpoint = concat("checkpoint-", best);
    if (best > 0 && fs::exists(origin / checkpoint))
        write_folder(out / checkpoint, [&](const fs::path& folder) { fs::copy(origin / checkpoint, folder); });
}

}  // namespace quaff
