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

// An evaluation example, and the model's own answers to its source.
struct Answer {
    SourceTarget text;
    std::string before, after;
};

// A step as one line of a terminal with `columns` columns (0: no terminal, and no limit):
//
//   step 12/1050  loss 0.1234  grad norm 1.234  lr 2.0e-04  12,345 tokens/s  45% SOL  2.18 GiB  ETA 3m05s
//   step 12/1050  loss 0.1234  grad 1.234  lr 2.0e-04  12,345 tok/s  45% SOL  3m05s
//   step 12/1050 loss 0.1234 grad 1.234 lr 2.0e-04 12k tok/s 45% SOL 3m05s
//
// The first of these that fits, or else the last. grad: norm of the gradient before clipping; lr: learning rate; SOL:
// share of the speed of light; then the peak of memory so far and an estimate of the time left.
std::string step_line(int64_t step, int64_t total_steps, const StepFigures& figures, double seconds_left, int columns);

// What to say of a loss on the evaluation examples that is `increase` larger after training than before; "" if that
// does not show in the summary.
std::string rise_warning(double increase, const Evaluation& after, int64_t steps, double epoch);

class RunReport {
  public:
    RunReport(const Options& options, Terminal& terminal) : options_(options), terminal_(terminal) {}

    // Begins out/log.jsonl: empty, or with the lines of an earlier run for which `keep` returns true. Nothing is logged
    // before this call.
    void open_log(const JsonLog::Keep& keep = nullptr);
    // `seconds_left` is an estimate.
    void step(int64_t step, int64_t total_steps, const StepFigures& figures, double seconds_left);
    // After `step`, that many outlier channels were replaced by others.
    void refreshed(int64_t step, int64_t channels);
    // A `warning` is logged with the evaluation and shown in the summary. `best_step`, if it is not negative, is
    // logged.
    void evaluation(int64_t step, const std::string& when, const Evaluation& evaluation,
                    const std::string& warning = "", int64_t best_step = -1);
    // Writes out/report.html (report/page.h) anew from the log. Evaluations and the summary do so themselves.
    void write_page();
    // `result` is the JSON object of the run.
    void summary(const nlohmann::ordered_json& result, const std::vector<Answer>& answers);

  private:
    void log(const nlohmann::ordered_json& line);

    const Options& options_;
    Terminal& terminal_;
    std::optional<JsonLog> log_;
    std::optional<RunLog> page_log_;  // what the page was last drawn from
    bool page_failed_ = false;        // it could not be written; the user has been warned
    bool log_waits_ = false;          // the last line could not be written; the user has been warned
    SpikeDetector loss_spikes_, grad_norm_spikes_;
    int64_t n_spikes_ = 0;               // losses and gradient norms that were flagged
    int64_t n_warned_ = 0;               // steps with a warning; the first one is shown
    std::vector<std::string> warnings_;  // for the summary
};

}  // namespace quaff
