// Checkpoints: everything a run needs to go on as if it had never stopped.
//
//   out/checkpoint-<step>/
//     adapter_config.json, adapter_model.safetensors, quaff.json    the adapter, as PEFT has it
//     state.safetensors     AdamW's m and v of every adapter matrix, s of every layer
//     state.json            step, epoch, position in the data, the random streams, the options
//     manifest.sha256       checksums of the files above, written last; `sha256sum -c manifest.sha256` checks them too
//
// A checkpoint is written under a temporary name, every file fsynced, and renamed: it is there as a whole or not at
// all. One that was torn or changed afterwards does not match its manifest and is passed over.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "llmc/training/loss_scale.h"
#include "quaff/model/model.h"

namespace quaff {

struct TrainingState {
    int64_t step = 0;           // optimiser steps taken
    int64_t micro_batches = 0;  // taken in them: the dropout stream of the next one
    double epoch = 0;
    int64_t seed = 0;
    int64_t ranks = 1;   // that took the steps so far
    int64_t window = 0;  // micro-batches of a step, of all ranks; 0: --gradient-accumulation-steps
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

// AdamW's moments and the scales. The adapters themselves are written and read as PEFT files (adapter.h).
template <class Device>
void write_moments(const std::filesystem::path& folder, Model<Device>& model);
template <class Device>
void read_moments(const std::filesystem::path& folder, Model<Device>& model);

}  // namespace quaff
