// The command line: one table names every option, its default, its range, the verbs that use it and one line of help.
// Parsing, --help, the option table on the terminal and out/config.toml are all read from that table.
//
//   precedence: command line, then --config FILE, then (train --resume) the run's own config.toml or (the demo's model)
//   dev/demo/demo.toml, then the default
#pragma once

#include <set>
#include <string>
#include <vector>

#include "quaff/run/options.h"

namespace quaff::cli {

enum class Verb { train, calibrate, eval, generate, merge, tokenize, info };

struct CommandLine {
    Verb verb = Verb::train;
    Options options;

    std::string path;         // info PATH
    std::string text;         // tokenize --text
    int64_t show_tokens = 0;  // examples to print token by token instead of doing anything with them
    std::string config;       // --config FILE
    bool json = false, plan = false, quiet = false;

    std::set<std::string> given;      // options set on the command line or in a file, long names without dashes
    std::vector<std::string> unused;  // options on the command line that have no effect
    std::string help;                 // not empty: --help or --version was asked for, and this is the answer

    bool was_given(const std::string& name) const { return given.contains(name); }
};

// Throws llmc::UsageError, one sentence, for anything that is not a valid command line.
CommandLine parse(const std::vector<std::string>& arguments);

// How a run's options are written down. `options` are the command line's, or what a run made of them.
RunRecord record_of(const CommandLine& line, const Options& options);

// Of the candidates the one with the smallest edit distance to `word`, or "" when none is near.
std::string nearest_name(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace quaff::cli
