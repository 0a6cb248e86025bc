// state.json of a checkpoint: where a run stands, and what a run that continues it must have in common with it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "llmc/training/loss_scale.h"
#include "quaff/run/training/best_checkpoint.h"

namespace quaff {

using namespace llmc;

struct TrainingState {
    int64_t step = 0;           // optimiser steps taken
    int64_t micro_batches = 0;  // in these steps: the dropout stream of the next one
    double epoch = 0;
    int64_t seed = 0;
    int64_t ranks = 1;   // that took the steps so far
    int64_t window = 0;  // micro-batches of a step, of all ranks; 0: not known yet
    double loss = 0;     // of the last step
    LossScale loss_scale;
    BestSoFar best;
    std::string model;      // fingerprint of the model's config and files
    std::string data;       // fingerprint of the training examples
    std::string eval_data;  // of those it is evaluated on; "": not known
    std::vector<std::pair<std::string, std::string>> options;
    // What the closing summary compares with; null when nothing is evaluated.
    nlohmann::ordered_json eval_before, answers_before;
};

void write_state(const std::filesystem::path& folder, const TrainingState& state);
TrainingState read_state(const std::filesystem::path& folder);

// Throws UsageError or Error if the run `before`, of `checkpoint`, cannot be resumed as `now`; the message names what
// differs.
void check_resumable(const TrainingState& before, const TrainingState& now, const std::string& checkpoint);

// What else differs, which the run may go on with but its user should know: sentences.
std::vector<std::string> differences(const TrainingState& before, const TrainingState& now);

}  // namespace quaff
