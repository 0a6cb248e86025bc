// A training run from its options to its adapter:
//
//   read data -> outlier channels -> build and quantise -> evaluate -> steps -> evaluate -> out/adapter
//
// step.h says what a step computes. The ranks (llmc/comm/comm.h) share out the micro-batches that one process would
// take one after the other, so that P ranks with accumulation A compute what a single one with P A does, to rounding;
// with --method quaff the scales move once for the P micro-batches that are computed at a time, towards the largest of
// their maxima. Only rank 0 writes.
//
// Everything random is a function of the seed and a counter, so a resumed run continues as if it had never stopped.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "llmc/system/signals.h"
#include "quaff/run/examples.h"
#include "quaff/run/options.h"
#include "quaff/run/starting_point.h"
#include "quaff/run/training/best_checkpoint.h"
#include "quaff/run/training/checkpointer.h"
#include "quaff/run/training/out_folder.h"
#include "quaff/run/training/outlier_watch.h"
#include "quaff/run/training/report.h"
#include "quaff/run/training/step.h"
#include "quaff/run/training/step_meter.h"
#include "quaff/run/training/training_data.h"
#include "quaff/run/training/training_state.h"
#include "quaff/run/training/vanished_gradient.h"

namespace quaff {

template <class Device>
class Trainer {
  public:
    // `options` with what the adapter decides filled in (starting_point.h); they and the terminal must outlive this.
    Trainer(const Options& options, RunRecord record, Terminal& terminal, const Device& device);

    // The whole run; `stopped` says that a signal ended it after a checkpoint. Returns the JSON object of --json.
    nlohmann::ordered_json run(bool& stopped);

    // Called, where set, after every micro-batch: `done` of this rank's `count` in the step.
    std::function<void(int64_t step, int64_t done, int64_t count)> after_micro_batch;

  private:
    // Everything up to the first step: data, channels, the model as it begins or as the checkpoint left it.
    void prepare();
    void find_checkpoint();
    void prepare_state();
    void prepare_model();
    void prepare_out();

    void train();
    StepFigures take_step(int64_t step);
    Evaluation evaluate_now(const std::string& when, const Task& task);
    void evaluate_before();
    void evaluate_and_save(int64_t step);
    // After the last step, or where the evaluations have stopped improving.
    bool is_over() const { return state_.step >= steps_->total_steps || best_.has_stalled(state_.best); }
    nlohmann::ordered_json evaluate_after();
    nlohmann::ordered_json finish(const nlohmann::ordered_json& eval_after);
    nlohmann::ordered_json finish_stopped();
    nlohmann::ordered_json result(const nlohmann::ordered_json& eval_after) const;
    // The newest checkpoint from before the update that made the gradient vanish, or "".
    std::string good_checkpoint() const;

    // Throws StoppedBySignal on all ranks, or on none.
    void stop_if_asked() const;
    // Sets the ranks' time limit for steps: --comm-timeout and twice the longest step so far; kPatience before the
    // first.
    void expect_steps();
    Progress progress();

    const Options& options_;
    const RunRecord record_;
    Terminal& terminal_;
    Device device_;
    Comm& comm_;
    StopSignals signals_;
    bool all_stop_ = false;  // a signal has reached a rank, and all ranks know it

    const BestCheckpoint best_;
    const ModelFiles files_;
    ExampleReader reader_;
    RunReport report_;
    OutFolder out_;  // claimed before it is first read, until the run ends

    TrainingData data_;
    std::optional<StepPlan> steps_;
    StartingPoint start_;
    std::unique_ptr<Model<Device>> model_;
    std::optional<StepMeter> meter_;
    std::optional<Checkpointer<Device>> checkpoints_;
    std::optional<OutlierWatch<Device>> outlier_watch_;

    // Where the run stands: as the checkpoint left it, then after every step.
    std::string resumed_from_;
    TrainingState state_;
    VanishedGradient vanished_;
    bool is_better_ = false;  // the loss after training than before
};

}  // namespace quaff
