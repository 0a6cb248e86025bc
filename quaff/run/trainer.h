// A training run: the data, the steps, what is told about them, and the files that are left behind.
//
//   read data -> outlier channels -> build and quantise -> evaluate -> steps -> evaluate -> out/adapter
//
// One step takes `gradient_accumulation_steps` micro-batches of every rank (llmc/comm/comm.h). With L the labelled
// tokens of all of them,
//
//   loss     = sum of their tokens' losses / L
//   gradient = d loss / d adapters; scaled by min(1, max_grad_norm / (norm + 1e-6)), torch's clip_grad_norm_
//   AdamW with the schedule's learning rate
//
// The ranks share out the micro-batches that one process would take one after the other, so that P ranks with
// accumulation A compute what a single one with P A does, to rounding; with --method quaff the scales move once for the
// P micro-batches that are computed at a time, towards the largest of their maxima. Only rank 0 writes.
//
// Everything random is a function of the seed and a counter, so a run that is resumed goes on as if it had never
// stopped.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "llmc/core/peak.h"
#include "llmc/io/file_io.h"
#include "llmc/system/signals.h"
#include "llmc/training/schedule.h"
#include "quaff/run/evaluate.h"
#include "quaff/run/report.h"
#include "quaff/run/run_setup.h"
#include "quaff/run/speed_of_light.h"
#include "quaff/run/training_state.h"

namespace quaff {

// Thrown where a run can stop because a signal asked for it.
struct StoppedBySignal {};

template <class Device>
class Trainer {
  public:
    Trainer(const Options& options, RunRecord record, Terminal& terminal, const Device& device);

    // The whole run; `stopped` says that a signal ended it after a checkpoint. Returns the JSON object of --json.
    nlohmann::ordered_json run(bool& stopped);

    // Plans the memory of the run and prints the table. Calibrates nothing: where no file names the outlier channels,
    // as many are planned for as calibration may find.
    nlohmann::ordered_json plan();

    // Called, where set, after every micro-batch: `done` of the `count` of the step's window.
    std::function<void(int64_t step, int64_t done, int64_t count)> after_micro_batch;

  private:
    void prepare();
    void read_data();
    void plan_steps();
    void agree_with_ranks();
    void claim_out();
    void find_checkpoint();
    void prepare_out();
    void train();
    void rehearse();

    StepFigures take_step(int64_t step);
    std::string where_to_go_on() const;
    // Does the work; what breaks in it is told with the name of the work and what is left to go on from.
    template <class Action>
    auto or_say_where(const std::string& name, const Action& action);
    [[noreturn]] void fail_nonfinite(const std::string& what, double value);

    Evaluation evaluate_now(const std::string& when);
    // Throws unless all ranks hold the same adapters, moments and scales, to the bit.
    void check_ranks_agree();
    // The evaluation examples to which the model's own answers are shown; none where no answer is short.
    std::span<const Example> shown_examples() const;
    nlohmann::ordered_json answers();

    TrainingState state_now() const;
    // Throws where what is about to be saved is not finite, or ranks differ in it.
    void require_good_state();
    std::string checkpoint_now() const;  // its folder
    void write_checkpoint_into(const std::filesystem::path& out);
    void write_checkpoint_now();
    void write_last_checkpoint();
    // That a full disk, say, takes no checkpoint is told and does not end the run.
    void try_to_write_checkpoint();
    // Where --out does not take it, and no checkpoint has the last steps, it goes elsewhere before the run fails.
    void write_final_adapter();
    void stop_if_asked() const;
    // From here on a rank may be as late as steps are long; before the first of them, as a model takes to read.
    void expect_steps();
    Progress progress();

    const Options& options_;
    const RunRecord record_;
    Terminal& terminal_;
    Device device_;
    Comm& comm_;
    StopSignals signals_;
    RunSetup setup_;
    RunReport report_;
    std::optional<DirectoryLock> out_lock_;  // from before the first look into --out until the run is over

    Dataset train_, eval_;
    std::vector<std::vector<int64_t>> eval_batches_;
    bool exact_match_ = false;
    std::string data_fingerprint_;

    std::optional<Sampler> sampler_;
    std::optional<LearningRateSchedule> schedule_;
    int64_t total_steps_ = 0;
    int64_t window_ = 0;     // micro-batches of a step, of all ranks
    bool all_stop_ = false;  // a signal has reached one of several ranks, and all know
    BatchLimits limits_;

    FrozenLayers frozen_;
    std::unique_ptr<Model<Device>> model_;
    std::optional<WorkModel> work_;
    Peak peak_;

    // Where the run stands: the checkpoint it was resumed from, then every step taken.
    std::string resumed_from_;
    TrainingState state_;
    std::string last_checkpoint_;
    int64_t first_step_ = 0;       // steps that were taken before this process
    double training_seconds_ = 0;  // of the steps this process took
    double longest_step_ = 0;
    int64_t training_tokens_ = 0;
};

}  // namespace quaff
