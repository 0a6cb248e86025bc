// Which checkpoint of a run is its best, and when the run has stopped improving, as transformers decides them
// (load_best_model_at_end, EarlyStoppingCallback). For each evaluation between steps, in this order:
//
//   patience     an evaluation improves if its figure beats the best of all earlier ones by more than
//                --early-stopping-threshold; --early-stopping-patience evaluations in a row that do not improve end
//                the run
//   figure       becomes the best one if it beats it, by however little
//   checkpoint   becomes the best one if the evaluated model is also saved, and beats the best that was saved; the
//                model that the run ends with is saved
//
// All of it is a function of BestSoFar and the evaluation, and BestSoFar is in every checkpoint: a resumed run decides
// as one that was never stopped.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "llmc/comm/comm.h"
#include "llmc/core/named.h"
#include "llmc/io/json.h"
#include "llmc/system/terminal.h"
#include "quaff/run/metrics/task.h"
#include "quaff/run/options.h"

namespace quaff {

// An evaluation: after which step, and its figure. step 0: there was none.
struct EvaluatedStep {
    int64_t step = 0;
    double figure = 0;
};

struct BestSoFar {
    EvaluatedStep evaluation, checkpoint;
    int64_t without_improvement = 0;  // evaluations since the last improvement
    int64_t evaluated = 0;            // the last step whose evaluation was counted
};

nlohmann::ordered_json to_json(const BestSoFar& best);
// Throws Error for what to_json() does not write.
BestSoFar read_best(const llmc::JsonObject& object);

// What every evaluation has; true: more is better.
inline constexpr llmc::Named<bool> kAlwaysMeasured[] = {
    {"loss", false}, {"perplexity", false}, {"token_accuracy", true}};

class BestCheckpoint {
  public:
    explicit BestCheckpoint(const TrainingOptions& options);

    // Whether the run asks for any of this; if not, nothing else is called.
    bool is_wanted() const { return options_.load_best_model_at_end || options_.early_stopping_patience > 0; }
    // --metric-for-best-model, without the "eval_" that transformers allows before it.
    const std::string& metric() const { return metric_; }
    bool greater_is_better() const { return greater_is_better_; }

    // Throws UsageError if `examples` is 0, the run ends before its first evaluated checkpoint, or the task lacks the
    // metric.
    void require_possible(int64_t total_steps, int64_t examples, const Task& task) const;
    // What an evaluation between two steps has to measure of the task.
    Task between_steps(const Task& task) const;

    // Counts an evaluation after `step`, as to_json(Evaluation) has it. Returns its figure, NaN if that is not finite.
    double update(BestSoFar& best, int64_t step, const nlohmann::ordered_json& evaluation) const;
    // The model after `step` is about to be saved; its evaluation's figure, NaN without one.
    void update_checkpoint(BestSoFar& best, int64_t step, double figure) const;
    // For a run that continues one of this folder: forgets the best checkpoint if rank 0 does not find it intact there.
    void forget_if_lost(BestSoFar& best, const std::filesystem::path& folder, llmc::Comm& ranks,
                        llmc::Terminal& terminal) const;
    // Whether a run that continues after `step` was stopped before it could evaluate it.
    bool lacks_evaluation(const BestSoFar& best, int64_t step) const {
        return is_wanted() && step > 0 && options_.eval_steps > 0 && step % options_.eval_steps == 0 &&
               best.evaluated < step;
    }
    // Whether the run is to end here.
    bool has_stalled(const BestSoFar& best) const {
        return options_.early_stopping_patience > 0 && best.without_improvement >= options_.early_stopping_patience;
    }
    // The step whose adapter the run ends with, if it loads the best one; else the best evaluation's.
    const EvaluatedStep& chosen(const BestSoFar& best) const {
        return options_.load_best_model_at_end && best.checkpoint.step > 0 ? best.checkpoint : best.evaluation;
    }
    // {"best": {"metric", "step", "value", "loaded"}, "stopped_early"}, for the result of the run and its summary.
    nlohmann::ordered_json result(const BestSoFar& best) const;

  private:
    bool beats(double figure, const EvaluatedStep& other) const {  // NaN beats nothing
        if (other.step == 0) return !std::isnan(figure);
        return greater_is_better_ ? figure > other.figure : figure < other.figure;
    }

    const TrainingOptions& options_;
    std::string metric_;
    bool greater_is_better_;
};

// Throws UsageError for options that cannot give a best checkpoint.
void check_best_options(const Options& options);

// The end of the summary: which step was best, and why the run stopped; "" if that was not asked for. `result` is the
// JSON object of the run.
std::string best_in_words(const nlohmann::ordered_json& result);

}  // namespace quaff
