// What a comparison of methods has measured so far, as plain data. compare.json holds the same.
//
// Each method is evaluated once before training. Then each is trained once for every seed, on the same batches as the
// others; these runs give the times and the memory of a step. Unless they are only timed, each is evaluated after.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "quaff/run/options.h"

namespace quaff {

// The figures of an evaluation by name, in its own order (to_json(Evaluation)): "loss", "kl_to_fp", "exact_match", ...
using Figures = std::vector<std::pair<std::string, double>>;
std::optional<double> figure(const Figures& figures, const std::string& name);
Figures figures_of(const nlohmann::ordered_json& evaluation);

struct TrainedRun {
    int64_t seed = 0;
    std::vector<double> step_seconds;             // without the first steps, which also warm up caches and libraries
    int64_t planned_memory = 0, peak_memory = 0;  // bytes
    Figures after;                                // empty: not evaluated yet, or only timed
};

struct MethodResult {
    std::string method;
    Figures before;  // empty: not evaluated yet
    std::vector<TrainedRun> runs;

    // Of all steps of all runs; nothing before the first run.
    std::optional<double> median_seconds() const;
    // The most of any run; 0 before the first.
    int64_t planned_memory() const;
    int64_t peak_memory() const;
    // The values of a figure after training, one for each run that has it.
    std::vector<double> after(const std::string& name) const;
    // The mean of each figure over the runs; empty unless all runs so far have been evaluated.
    Figures mean_after() const;
};

struct Comparison {
    std::string model;
    int64_t steps = 0;  // of each training; 0: runs are only timed; -1: as many as the epochs have
    int64_t seeds = 1, first_seed = 0;
    OptionTexts options;  // all that were chosen; a comparison goes on with the same only
    OptionTexts inputs;   // what they name, and its fingerprint: likewise
    std::vector<MethodResult> methods;
    std::vector<std::string> commands;  // those that have been run, to be repeated by hand

    bool trains() const { return steps != 0; }
};

nlohmann::ordered_json to_json(const Comparison& comparison);
// Throws Error naming `file` if it is none that to_json() made.
Comparison comparison_of(const nlohmann::ordered_json& object, const std::string& file);

}  // namespace quaff
