// report: a page of the curves of runs, from their folders.
#include <deque>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/io/file_io.h"
#include "quaff/cli/exit_status.h"
#include "quaff/cli/verb_functions.h"
#include "quaff/run/report/page.h"

namespace quaff::cli {

int report(const CommandLine& line, Terminal& terminal) {
    namespace fs = std::filesystem;
    if (line.runs.size() > kMostRuns)
        throw UsageError(
            concat("report draws at most ", kMostRuns, " runs over each other, and ", line.runs.size(), " are given"));
    std::deque<RunLog> logs;
    std::vector<const RunLog*> runs;
    for (const std::string& folder : line.runs) {
        runs.push_back(&logs.emplace_back(folder));
        if (const std::string skipped = logs.back().skipped(); !skipped.empty()) terminal.warn(skipped);
    }
    const fs::path page = !line.options.out.empty() ? fs::path(line.options.out)
                          : runs.size() == 1        ? runs.front()->folder() / kPageName
                                                    : fs::path(kPageName);
    // A mistyped --out must not replace a log or a model.
    if (page.extension() != ".html" && page.extension() != ".htm")
        throw UsageError(concat("--out ", page.string(), ": the page is a file whose name ends in .html"));
    write_file_atomically(page, report_page(runs));
    terminal.result(concat("the report on ", counted(std::ssize(runs), "run"), " is in ", page.string()));
    if (line.json) print_json({{"report", page.string()}, {"runs", line.runs}});
    return kDone;
}

}  // namespace quaff::cli
