#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "quaff/cli/compare_commands.h"
#include "quaff/cli/exit_status.h"
#include "quaff/cli/verb_functions.h"
#include "quaff/run/compare/compare.h"
#include "quaff/run/compare/table.h"

namespace quaff::cli {

int compare(const CommandLine& line, Terminal& terminal, const Comm& ranks) {
    if (ranks.size() > 1)
        throw UsageError("compare starts its processes itself, one after the other: start it without mpirun or srun");
    CompareOptions options;
    options.begin = comparison_of(line);
    options.out = line.options.out;
    options.resume = !line.options.training.resume.empty();
    options.program = "/proc/self/exe";  // the program that runs here, even if another takes its place meanwhile
    options.shown = "./train_quaff";
    options.arguments = [&line](const CompareJob& job) { return arguments_of(line, job); };
    bool stopped = false;
    const Comparison comparison = quaff::compare(options, terminal, stopped);
    terminal.result(comparison_table(comparison));
    terminal.result(stopped ? concat("stopped; to go on, give the same options and --resume (", options.out, ")")
                            : concat(options.out, " holds compare.md, compare.svg, compare.json and the logs"));
    if (line.json) print_json(to_json(comparison));
    return stopped ? kStopped : kDone;
}

}  // namespace quaff::cli
