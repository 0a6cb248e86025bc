#include <algorithm>
#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "llmc/core/words.h"
#include "llmc/io/sha256.h"
#include "quaff/cli/compare_commands.h"
#include "quaff/cli/exit_status.h"
#include "quaff/cli/verb_functions.h"
#include "quaff/run/compare/compare.h"
#include "quaff/run/compare/table.h"
#include "quaff/run/training/fingerprints.h"

namespace quaff::cli {

namespace {

// What a comparison reads, which must not change before it ends: the model, and the files of the options.
OptionTexts inputs_of(const Options& options) {
    OptionTexts inputs = {{options.model.folder, fingerprint(ModelFiles(options.model.folder))}};
    const auto add = [&](const std::string& file) {
        if (!file.empty()) inputs.emplace_back(file, sha256_of_file(file));
    };
    std::ranges::for_each(options.data.files, add);
    std::ranges::for_each(options.data.eval_files, add);
    for (const std::string& file : {options.outliers.file, options.outliers.data, options.data.tools}) add(file);
    return inputs;
}

}  // namespace

int compare(const CommandLine& line, Terminal& terminal, const Comm& ranks) {
    if (ranks.size() > 1)
        throw UsageError("compare starts its processes itself, one after the other: start it without mpirun or srun");
    CompareOptions options;
    options.begin = comparison_of(line);
    options.begin.inputs = inputs_of(line.options);
    options.out = line.options.out;
    options.resume = !line.options.training.resume.empty();
    options.program = "/proc/self/exe";  // the program that runs here, even if another takes its place meanwhile
    options.shown = "./train_quaff";
    options.arguments = [&line](const CompareJob& job) { return arguments_of(line, job); };
    for (const MethodResult& result : options.begin.methods)
        if (const auto names = left_out(line, result.method); !names.empty())
            terminal.warn(concat(result.method, " has settings of its own and does not take --", join(names, ", --")));
    for (const std::string& name : heeded_by_none(line))
        terminal.warn(concat("--", name, " has no effect: none of the methods that are compared heeds it"));
    bool stopped = false;
    const Comparison comparison = quaff::compare(options, terminal, stopped);
    terminal.result(comparison_table(comparison));
    terminal.result(stopped ? concat("stopped; to go on, give the same options and --resume (", options.out, ")")
                            : concat(options.out, " holds compare.md, compare.svg, compare.json and the logs"));
    if (line.json) print_json(to_json(comparison));
    return stopped ? kStopped : kDone;
}

}  // namespace quaff::cli
