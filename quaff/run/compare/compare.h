// Runs a comparison of methods: every evaluation and every training in a process of its own, one after the other, so
// that none finds warm caches or leftover memory of another.
//
//   before training   an evaluation of each method
//   round of a seed   a training of each method, then, unless it was for the times alone, an evaluation of its adapter
//
// Each round begins with another method. What is done is in compare.json from the start and after every process, and
// the table, chart and logs beside it; a comparison that was stopped goes on from there.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "llmc/system/terminal.h"
#include "quaff/run/compare/comparison.h"

namespace quaff {

using namespace llmc;

// One process.
struct CompareJob {
    enum class Kind { evaluate_before, train, evaluate_after };
    Kind kind = Kind::evaluate_before;
    std::string method;
    int64_t seed = 0;
    std::string folder;    // of the training run
    bool resumes = false;  // train: the run in `folder` was stopped and has an intact checkpoint
};

struct CompareOptions {
    Comparison begin;     // without results: methods, steps, seeds and options
    std::string out;      // folder
    bool resume = false;  // go on with what `out` holds
    std::string program;  // to run
    std::string shown;    // how commands name the program
    // The arguments of a job. It writes one JSON object to stdout, its result, and nothing else.
    std::function<std::vector<std::string>(const CompareJob&)> arguments;
};

// Throws UsageError if `out` holds results of a comparison and `resume` is not set, or a comparison of other options;
// Error with the last words of a process that failed. `stopped`: a signal came; the comparison holds what is done.
Comparison compare(const CompareOptions& options, Terminal& terminal, bool& stopped);

}  // namespace quaff
