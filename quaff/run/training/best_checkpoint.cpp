#include "quaff/run/training/best_checkpoint.h"

#include <algorithm>
#include <cmath>

#include "llmc/core/error.h"
#include "llmc/metrics/metric.h"
#include "llmc/system/terminal.h"
#include "quaff/files/checkpoint_folder.h"

namespace quaff {

using nlohmann::ordered_json;

namespace {

std::string without_prefix(const std::string& name) {
    return name.starts_with("eval_") ? name.substr(5) : name;
}

ordered_json to_json(const EvaluatedStep& evaluated) {
    return {{"step", evaluated.step}, {"value", evaluated.figure}};
}

EvaluatedStep read_evaluated(const JsonObject& object) {
    return {object.integer("step", 0, INT64_MAX), object.number("value", -1e300, 1e300)};
}

}  // namespace

ordered_json to_json(const BestSoFar& best) {
    return {{"evaluation", to_json(best.evaluation)},
            {"checkpoint", to_json(best.checkpoint)},
            {"without_improvement", best.without_improvement},
            {"evaluated", best.evaluated}};
}

BestSoFar read_best(const JsonObject& object) {
    return {.evaluation = read_evaluated(object.object("evaluation")),
            .checkpoint = read_evaluated(object.object("checkpoint")),
            .without_improvement = object.integer("without_improvement", 0, INT64_MAX),
            .evaluated = object.integer("evaluated", 0, INT64_MAX)};
}

BestCheckpoint::BestCheckpoint(const TrainingOptions& options)
    : options_(options), metric_(without_prefix(options.metric_for_best_model)) {
    const std::optional<bool> always = value_in(kAlwaysMeasured, metric_);
    greater_is_better_ = always ? *always : metric_ != name_in(kMetricNames, Metric::word_perplexity);
}

double BestCheckpoint::update(BestSoFar& best, int64_t step, const ordered_json& evaluation) const {
    // A perplexity may be infinite. Such a figure improves nothing.
    const double measured = evaluation[metric_].is_number() ? evaluation[metric_].get<double>() : NAN;
    const double figure = std::isfinite(measured) ? measured : NAN;
    const bool beats_all = beats(figure, best.evaluation);
    const bool improves = beats_all && (best.evaluation.step == 0 ||
                                        std::abs(figure - best.evaluation.figure) > options_.early_stopping_threshold);
    best.evaluated = step;
    best.without_improvement = improves ? 0 : best.without_improvement + 1;
    if (beats_all) best.evaluation = {step, figure};
    return figure;
}

void BestCheckpoint::update_checkpoint(BestSoFar& best, int64_t step, double figure) const {
    if (beats(figure, best.checkpoint)) best.checkpoint = {step, figure};
}

void BestCheckpoint::forget_if_lost(BestSoFar& best, const std::filesystem::path& folder, Comm& ranks,
                                    Terminal& terminal) const {
    if (!options_.load_best_model_at_end || best.checkpoint.step == 0) return;
    const std::filesystem::path checkpoint = folder / concat("checkpoint-", best.checkpoint.step);
    const std::string damage = ranks.is_first() ? find_damage(checkpoint) : "";
    if (!ranks.any(!damage.empty())) return;
    terminal.warn(
        concat("the best checkpoint so far is lost (", damage, "); the best of those to come will be loaded"));
    best.checkpoint = {};
}

ordered_json BestCheckpoint::result(const BestSoFar& best) const {
    const bool loads = options_.load_best_model_at_end && best.checkpoint.step > 0;
    const auto& [step, figure] = chosen(best);
    ordered_json object = {{"best", {{"metric", metric_}, {"step", step}, {"value", figure}, {"loaded", loads}}},
                           {"stopped_early", has_stalled(best)}};
    if (has_stalled(best)) object["best"]["evaluations_without_improvement"] = best.without_improvement;
    return object;
}

void check_best_options(const Options& options) {
    const TrainingOptions& training = options.training;
    const BestCheckpoint best(training);
    if (!value_in(kAlwaysMeasured, best.metric()) && !value_in(kMetricNames, best.metric()))
        throw UsageError(concat("--metric-for-best-model must be ", names_in(kAlwaysMeasured), ", or a metric: ",
                                names_in(kMetricNames), "; not '", training.metric_for_best_model, "'"));
    if (training.early_stopping_patience > 0 && training.eval_steps == 0)
        throw UsageError("--early-stopping-patience counts evaluations between steps, and --eval-steps 0 has none");
    if (!training.load_best_model_at_end) return;
    if (training.eval_steps == 0 || training.save_steps == 0)
        throw UsageError("--load-best-model-at-end needs evaluated checkpoints: --eval-steps and --save-steps above 0");
    if (training.save_steps % training.eval_steps != 0)
        throw UsageError(concat("--load-best-model-at-end: --save-steps ", training.save_steps,
                                " must be a multiple of --eval-steps ", training.eval_steps,
                                ", so that every checkpoint is evaluated"));
    if (training.refresh_outliers > 0)
        throw UsageError(
            "--load-best-model-at-end cannot go back to a checkpoint with other outlier channels: leave "
            "--refresh-outliers out");
}

std::string best_in_words(const ordered_json& result) {
    if (!result.contains("best")) return "";
    const ordered_json& best = result["best"];
    if (best["step"] == 0) return "no evaluation between steps: the adapter is that of the last step";
    const std::string words = concat(
        "best ", best["metric"].get<std::string>(), format(" %.4f after step ", best["value"].get<double>()),
        best["step"].get<int64_t>(),
        best["loaded"].get<bool>() ? ", whose checkpoint is the adapter" : "; the adapter is that of the last step");
    if (!result["stopped_early"].get<bool>()) return words;
    return concat(words, "; stopped early: no improvement in ",
                  counted(best["evaluations_without_improvement"].get<int64_t>(), "evaluation"));
}

}  // namespace quaff
