// state.json of a checkpoint: where a run stands, and what it must share with a run that goes on from there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "llmc/training/loss_scale.h"

namespace quaff {

using namespace llmc;

struct TrainingState {
    int64_t step = 0;           // optimiser steps taken
    int64_t micro_batches = 0;  // taken in them: the dropout stream of the next one
    double epoch = 0;
    int64_t seed = 0;
    int64_t ranks = 1;   // that took the steps so far
    int64_t window = 0;  // micro-batches of a step, of all ranks; 0: not known yet
    double loss = 0;     // of the last step
    LossScale loss_scale;
    std::string model;  // fingerprint of the model's config and files
    std::string data;   // fingerprint of the training examples
    std::vector<std::pair<std::string, std::string>> options;
    // What the closing summary compares with; null when nothing is evaluated.
    nlohmann::ordered_json eval_before, answers_before;
};

void write_state(const std::filesystem::path& folder, const TrainingState& state);
TrainingState read_state(const std::filesystem::path& folder);

// Throws UsageError or Error naming what differs between the run to be resumed and the one that is asked for.
void check_resumable(const TrainingState& before, const TrainingState& now, const std::string& checkpoint);

}  // namespace quaff
