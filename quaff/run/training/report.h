// What a training run reports: each step and each evaluation, on the terminal and in out/log.jsonl; at the end, what
// has improved and what to do next.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "llmc/comm/comm.h"
#include "llmc/data/examples.h"
#include "llmc/system/terminal.h"
#include "llmc/training/log.h"
#include "llmc/training/spike_detector.h"
#include "quaff/run/evaluation.h"
#include "quaff/run/options.h"
#include "quaff/run/report/run_log.h"
#include "quaff/run/training/live_line.h"
#include "quaff/run/training/troubles.h"

namespace quaff {

using namespace llmc;

struct StepFigures {
    double epoch = 0;
    double loss = 0, grad_norm = 0, learning_rate = 0;
    int64_t tokens = 0, labelled = 0;
    double seconds = 0;
    double speed_of_light = 0;   // least possible seconds / seconds
    int64_t peak_memory = 0;     // bytes, so far
    int64_t planned_memory = 0;  // bytes
    double loss_scale = 1;       // of this step
    int64_t ranks = 1;
    Traffic communication;  // of rank 0, where there are several
    int64_t skipped = 0;    // steps so far that were skipped because their gradient overflowed fp16
    std::string warning;    // what is wrong with the run at this step; empty: nothing
};

// An evaluation example, and the model's own answers to its source; `before` may be empty.
struct Answer {
    SourceTarget text;
    std::string before, after;
};

// The first of the answers in the lists, which may be empty: one is enough to see.
std::optional<Answer> first_answer(const Dataset& data, const nlohmann::ordered_json& before,
                                   const nlohmann::ordered_json& after);

// A step as one line of a terminal with `columns` columns (0: no terminal, and no limit):
//
//   step 12/1050  loss 0.1234  grad norm 1.234  lr 2.0e-04  12,345 tokens/s  45% SOL  2.18 GiB  ETA 3m05s
//   step 12/1050  loss 0.1234  grad 1.234  lr 2.0e-04  12,345 tok/s  45% SOL  3m05s
//   step 12/1050 loss 0.1234 grad 1.234 lr 2.0e-04 12k tok/s 45% SOL 3m05s
//
// The first of these that fits, or else the last. grad: norm of the gradient before clipping; lr: learning rate; SOL:
// share of the speed of light; then the peak of memory so far and an estimate of the time left.
std::string step_line(int64_t step, int64_t total_steps, const StepFigures& figures, double seconds_left, int columns);

// What to say of a loss on the evaluation examples that is larger than `before` training, an evaluation or null; "" if
// that does not show in the summary.
std::string rise_warning(const nlohmann::ordered_json& before, const Evaluation& after, int64_t steps, double epoch);

// Why a run has no usable result: the model is further from the labels than one that guesses and than before training,
// in training and after it. "": it has one. A loss that rose on other examples than those learnt is no reason.
// `before`, `after`: evaluations, or null.
std::string why_unusable(const nlohmann::ordered_json& before, const nlohmann::ordered_json& after,
                         double last_training_loss, int64_t vocab_size);

class RunReport {
  public:
    RunReport(const Options& options, Terminal& terminal)
        : options_(options), terminal_(terminal), pace_(options.training.logging_steps, !terminal.live()) {}

    // Begins out/log.jsonl: empty, or with the lines of an earlier run for which `keep` returns true. Nothing is logged
    // before this call.
    void open_log(const JsonLog::Keep& keep = nullptr);
    // Of `step`, `done` of `count` micro-batches have been computed: for the live line.
    void micro_batch(int64_t step, int64_t total_steps, int64_t done, int64_t count);
    // `seconds_left` is an estimate.
    void step(int64_t step, int64_t total_steps, const StepFigures& figures, double seconds_left);
    // Something of this `kind` went wrong after `step` and was told: it is logged, and told again in the summary. "":
    // nothing did.
    void trouble(int64_t step, const std::string& kind, const std::string& sentence);
    // After `step`, that many outlier channels were replaced by others.
    void refreshed(int64_t step, int64_t channels);
    // A `warning` is told, logged with the evaluation and told again in the summary. `best_step`, if it is not
    // negative, is logged.
    void evaluation(int64_t step, const std::string& when, const Evaluation& evaluation,
                    const std::string& warning = "", int64_t best_step = -1);
    // Writes out/report.html (report/page.h) anew from the log. Evaluations and the summary do so themselves.
    void write_page();
    // `result` is the JSON object of the run, `method` the one that its figures are of.
    void summary(const nlohmann::ordered_json& result, const std::optional<Answer>& answer, Method method);

  private:
    void log(const nlohmann::ordered_json& line);
    void show_live_line(const std::string& more);
    void show_figures(const nlohmann::ordered_json& result, Method method);
    void show_memory(const nlohmann::ordered_json& result);

    const Options& options_;
    Terminal& terminal_;
    std::optional<JsonLog> log_;
    std::optional<RunLog> page_log_;  // what the page was last drawn from
    bool page_failed_ = false;        // it could not be written; the user has been warned
    bool log_waits_ = false;          // the last line could not be written; the user has been warned
    SpikeDetector loss_spikes_, grad_norm_spikes_;
    ExplodingGradient exploding_;
    int64_t n_spikes_ = 0;  // losses and gradient norms that were flagged
    Troubles troubles_;
    LinePace pace_;
    SmoothedLoss smoothed_;
    LiveFigures live_;  // of the last step
};

}  // namespace quaff
