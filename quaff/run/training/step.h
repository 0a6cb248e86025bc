// One step of training. With L the labelled tokens of its window of micro-batches, of all ranks:
//
//   loss     = sum over the L tokens of their cross-entropy / L
//   g        = d loss / d adapters
//   norm     = |g|
//   g       *= min(1, max_grad_norm / (norm + 1e-6))      torch's clip_grad_norm_
//   adapters = AdamW(g)
//
// In fp16, g is computed times a loss scale that the norm and the update divide out again. A step whose g overflows is
// skipped (llmc/training/loss_scale.h).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "llmc/data/sampler.h"
#include "llmc/training/loss_scale.h"
#include "quaff/model/model.h"

namespace quaff {

// Thrown where a run can stop because a signal asked for it.
struct StoppedBySignal {};

// What one rank computes of a step.
struct StepShare {
    std::vector<Batch> batches;
    std::vector<uint64_t> numbers;     // their dropout streams
    int64_t tokens = 0, labelled = 0;  // of the whole window
    bool follows = false;              // other ranks have one micro-batch more
    bool may_stop = false;             // between two micro-batches: no other rank waits for this one
};

// `first_number`: the dropout number of the window's first micro-batch.
StepShare share_of(const Window& window, const Sampler& sampler, std::span<const Example> examples,
                   uint64_t first_number, const Comm& comm);

struct StepResult {
    double loss = 0;
    double grad_norm = 0;   // before clipping; not finite: the step was skipped
    double loss_scale = 1;  // of this step
};

// What a step calls on its way. Every rank calls sum_over_ranks once, so it may carry figures of the caller's as well.
struct StepCalls {
    std::function<void(int64_t done)> after_micro_batch;
    std::function<double(double loss)> sum_over_ranks;  // returns the sum of the ranks' losses
};

// `step` counts from 1. Where after_micro_batch throws StoppedBySignal, the step counts as never begun: the scales are
// restored. Throws Error when the loss or the norm is not finite; the message names the first tensor that is not.
template <class Device>
StepResult take_step(Model<Device>& model, const StepShare& share, const AdamWOptions& adamw, double max_grad_norm,
                     int64_t step, LossScale& scale, const StepCalls& calls);

// The remedy in messages about a run that diverged.
inline constexpr const char* kLowerLearningRate = "Lower --learning-rate or --max-grad-norm";

}  // namespace quaff
