// The parts of report.html, each a piece of HTML; "" where there is nothing to show.
#pragma once

#include <string>
#include <vector>

#include "llmc/io/toml.h"
#include "quaff/run/report/run_log.h"

namespace quaff {

// What config.toml says; nothing if there is none, or `problem` if it cannot be read.
struct RunOptions {
    explicit RunOptions(const std::filesystem::path& folder);

    std::string value(const std::string& name) const;  // "" if it is not there

    std::vector<llmc::TomlEntry> entries;
    std::string problem;
};

// The charts of all runs, in the runs' colours if there are several.
std::string charts_of(const std::vector<const RunLog*>& runs, const std::vector<std::string>& names);
// The heat map ossh.svg of a run that tracks its outlier channels.
std::string heat_map_of(const RunLog& run);
std::string evaluations_table(const RunLog& run);
std::string options_table(const RunOptions& options);
// What to type to resume the run and to use its adapter.
std::string commands_of(const RunLog& run, const RunOptions& options);

}  // namespace quaff
