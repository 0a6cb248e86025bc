// What the best checkpoint asks of a run and of its task. Apart from the decisions, which need no examples.
#include "llmc/core/error.h"
#include "llmc/metrics/metric.h"
#include "llmc/system/terminal.h"
#include "quaff/run/training/best_checkpoint.h"

namespace quaff {

void BestCheckpoint::require_possible(int64_t total_steps, int64_t examples, const Task& task) const {
    const char* option = options_.load_best_model_at_end ? "--load-best-model-at-end" : "--early-stopping-patience";
    if (examples == 0)
        throw UsageError(concat(option, " needs examples to evaluate on: give --eval-data, or --eval-split above 0"));
    // The last step is saved in any case.
    if (options_.load_best_model_at_end && total_steps < options_.save_steps && total_steps % options_.eval_steps != 0)
        throw UsageError(concat("--load-best-model-at-end: the run has ", counted(total_steps, "step"),
                                " and --save-steps is ", options_.save_steps,
                                ", so that no checkpoint is evaluated; lower --save-steps and --eval-steps"));
    if (value_in(kAlwaysMeasured, metric_)) return;
    const std::optional<Metric> metric = value_in(kMetricNames, metric_);
    if (!metric || !task.has(*metric))
        throw UsageError(concat("--metric-for-best-model ", metric_,
                                ": the run does not measure it on these examples; ", "ask for it with --metrics ",
                                metric_, ", or choose ", names_in(kAlwaysMeasured)));
}

Task BestCheckpoint::between_steps(const Task& task) const {
    const bool is_cheap =
        !is_wanted() || value_in(kAlwaysMeasured, metric_) || metric_ == name_in(kMetricNames, Metric::exact_match);
    return is_cheap ? task.exact_matches_alone() : task.without_predictions();
}

}  // namespace quaff
