// The command line of train_quaff, parsed. option_table.h lists the options.
//
//   precedence: command line, then --config FILE, then (train --resume) the run's own config.toml or (the demo's model)
//   demo.toml beside it, then the default
#pragma once

#include <set>
#include <string>
#include <vector>

#include "quaff/cli/verbs.h"
#include "quaff/run/options.h"

namespace quaff::cli {

struct CommandLine {
    explicit CommandLine(Verb verb = Verb::train);  // with the defaults of the verb

    Verb verb;
    Options options;

    std::string path;               // info PATH
    std::vector<std::string> runs;  // report RUN..
    std::string text;               // tokenize --text
    int64_t show_tokens = 0;        // print that many examples token by token, and do nothing else
    std::string config;             // --config FILE
    std::string methods = "all";    // compare
    int64_t seeds = 3;              // compare: trainings of each method
    bool json = false, plan = false, quiet = false, verbose = false;

    std::set<std::string> on_command_line;  // options set there, long names without dashes
    std::set<std::string> given;            // options set on the command line or in a file, long names without dashes
    std::vector<std::string> unused;        // options on the command line that have no effect, to warn of
    std::string help;                       // what --help, --version, completion or man answer; else empty

    bool was_given(const std::string& name) const { return given.contains(name); }
};

// What a command line needs: its verb's needs, or those of --plan or --show-tokens.
inline Needs needs_of(const CommandLine& line) {
    return line.show_tokens > 0 ? kShowTokens : line.plan ? kPlan : info_of(line.verb).needs;
}

// Throws llmc::UsageError with one sentence when the command line is not valid.
CommandLine parse(const std::vector<std::string>& arguments);

// A run's options as they are shown and saved. `options`: those of the line, or what the run made of them.
RunRecord record_of(const CommandLine& line, const Options& options);

}  // namespace quaff::cli
