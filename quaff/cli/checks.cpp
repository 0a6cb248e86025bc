#include "quaff/cli/checks.h"

#include <algorithm>
#include <span>

#include "llmc/core/error.h"
#include "llmc/core/words.h"
#include "llmc/data/column_names.h"
#include "llmc/data/formats/format.h"
#include "llmc/io/text_input.h"
#include "quaff/cli/compare_commands.h"
#include "quaff/files/chat_settings.h"
#include "quaff/files/outliers.h"
#include "quaff/run/chat.h"
#include "quaff/run/method_settings.h"
#include "quaff/run/metrics/metric_list.h"
#include "quaff/run/training/best_checkpoint.h"

namespace quaff::cli {

using namespace llmc;

namespace {

// The demo's examples stand in for --data where the demo's model is used, and nowhere else.
void check_data(const CommandLine& line) {
    const Options& o = line.options;
    const bool has_data = !o.data.files.empty() || (line.verb == Verb::eval && !o.data.eval_files.empty()) ||
                          (line.verb == Verb::calibrate && !o.outliers.data.empty());
    if (needs_of(line).examples && !has_data && o.model.folder != CommandLine().options.model.folder)
        throw UsageError("--model needs --data FILE as well: the demo's examples are for the demo's model");
}

void check_format(const std::string& name) {
    std::vector<std::string> names = data_format_names();
    names.insert(names.begin(), {kFormatOfColumns, kNoFormat});
    if (std::ranges::find(names, name) == names.end())
        throw UsageError(concat("--data-format must be ", join(names, ", ", " or "), ", not '", name, "'"));
}

// A second reading of standard input would find nothing.
void check_standard_input(const CommandLine& line) {
    const DataOptions& data = line.options.data;
    int64_t times = std::ranges::count(data.files, kStandardInput) + (line.options.outliers.data == kStandardInput);
    if (line.verb != Verb::eval || data.files.empty()) times += std::ranges::count(data.eval_files, kStandardInput);
    if (times > 1) throw UsageError("standard input (-) can be read once only, but it is named several times");
}

void check_columns(const CommandLine& line) {
    try {
        parse_column_names(line.options.data.columns);
    } catch (const Error& error) {
        throw UsageError(concat("--columns: ", error.what()));
    }
}

// What follows the outlier channels through a training needs a method that has some.
void check_watch(const Options& o) {
    const TrainingOptions& training = o.training;
    if (!o.compute.method || (!training.track_outliers && training.refresh_outliers == 0)) return;
    const char* option = training.track_outliers ? "--track-outliers" : "--refresh-outliers";
    const Method method = *o.compute.method;
    if (!linear_method(method).has_chosen_channels())
        throw UsageError(concat(option, " has nothing to do: --method ", name_of(method),
                                " has no outlier channels; leave it out, or choose --method quaff"));
    if (method == Method::quaff_paper && training.refresh_outliers > 0)
        throw UsageError(
            "--refresh-outliers: --method quaff-paper chooses its channels once, as published; choose --method quaff");
}

// A schedule takes only what it heeds.
void check_schedule(const TrainingOptions& training) {
    const Schedule kind = training.lr_scheduler;
    const char* name = name_in(kScheduleNames, kind);
    const bool has_least = kind == Schedule::cosine_with_min_lr || kind == Schedule::warmup_stable_decay;
    if (training.lr_shape.warmup_steps > 0 && training.warmup_ratio != TrainingOptions().warmup_ratio)
        throw UsageError("--warmup-steps and --warmup-ratio both set the length of the warm-up: give one of them");
    if (training.lr_shape.warmup_steps > 0 && kind == Schedule::constant)
        throw UsageError(
            "--warmup-steps: --lr-scheduler constant has no warm-up; choose constant_with_warmup, linear or cosine");
    if (training.lr_shape.min_lr_ratio > 0 && !has_least)
        throw UsageError(concat("--min-lr-ratio: --lr-scheduler ", name,
                                " has no least learning rate; choose cosine_with_min_lr or warmup_stable_decay"));
    if (kind == Schedule::cosine_with_min_lr && training.lr_shape.min_lr_ratio == 0)
        throw UsageError("--lr-scheduler cosine_with_min_lr needs its --min-lr-ratio, such as 0.1");
    if (training.lr_shape.decay_steps > 0 && kind != Schedule::warmup_stable_decay)
        throw UsageError(concat("--num-decay-steps: only --lr-scheduler warmup_stable_decay has them, not ", name));
    if (kind == Schedule::polynomial && training.learning_rate <= kPolynomialEnd)
        throw UsageError(concat("--lr-scheduler polynomial ends at a learning rate of ", kPolynomialEnd,
                                ": --learning-rate must be above it"));
}

// What a method does not use that has no outlier channels; that does not scale them; that is not quaff; and others.
constexpr const char* kOfOutliers[] = {"outliers", "cal-data", "max-cal-samples"};
constexpr const char* kOfScaling[] = {"scale-momentum", "scale-strength"};
constexpr const char* kOfQuaff[] = {"outlier-term", "rotation"};
constexpr const char* kOfInt8[] = {"grad-bits"};
constexpr const char* kOfLlmInt8[] = {"int8-threshold"};
constexpr const char* kOfSmoothing[] = {"smooth-alpha"};

}  // namespace

void check_contradictions(const CommandLine& line) {
    const auto refuse = [](const auto&... parts) { throw UsageError(concat(parts...)); };
    const Options& o = line.options;
    if (!o.training.resume.empty() && line.plan)
        refuse("--resume and --plan contradict each other: --plan starts no run");
    if (o.data.format) check_format(*o.data.format);
    if (o.data.metrics != kMetricsOfFormat && o.data.metrics != kNoMetrics) parse_metrics(o.data.metrics);
    if (o.data.window > 0 && o.data.stride > o.data.window)
        refuse("--stride ", o.data.stride, " is more than --window ", o.data.window,
               ": tokens between two windows would not be read");
    if (line.verb == Verb::train && o.training.max_steps == 0)
        refuse("--max-steps must be at least 1, or -1 to let --epochs count");
    if (line.verb != Verb::calibrate && !o.outliers.file.empty() && !o.outliers.data.empty())
        refuse(
            "--outliers names channels that were chosen already and --cal-data would choose them anew: give one of "
            "them");
    if (line.verb == Verb::generate) {
        if (line.was_given("prompt") && !o.generation.prompt_file.empty())
            refuse("--prompt and --prompt-file contradict each other: give one of them");
        if (!line.was_given("prompt") && o.generation.prompt_file.empty())
            refuse("generate needs a --prompt \"TEXT\" or a --prompt-file FILE");
    }
    if (line.verb == Verb::tokenize && line.was_given("text") && line.was_given("data"))
        refuse("--text and --data contradict each other: give one of them");
    if (line.verb == Verb::tokenize && !line.was_given("text") && !line.was_given("data"))
        refuse("tokenize needs a --text \"TEXT\" or a --data FILE");
    if (line.verb == Verb::merge && o.model.adapter.empty())
        refuse("merge needs an --adapter DIR to fold into the weights");
    // Whoever asks for a plan must not get a run.
    if (std::ranges::find(line.unused, "plan") != line.unused.end())
        refuse(info_of(line.verb).name,
               " has no --plan; train_quaff info --plan prints the memory that a training run takes");
    if (const auto& name = o.data.chat_template; name && !is_template_choice(*name))
        refuse("--template must be ", template_choices(), ", not '", *name, "'");
    if (!o.data.date.empty() && !parse_date(o.data.date))
        refuse("--date must be a day such as 2026-01-31, not '", o.data.date, "'");
    if (o.data.train_on_source.value_or(false) && o.data.loss_on == LossOn::last)
        refuse("--train-on-source gives all text a loss, and --loss-on last one answer; leave one of them out");
    if (line.verb == Verb::eval && o.data.gradient_error && !o.data.reference)
        refuse("--gradient-error compares with the model in full precision: give --reference as well");
    if (line.verb == Verb::train) {
        if (line.quiet && line.verbose) refuse("--quiet and --verbose contradict each other: give one of them");
        check_watch(o);
        check_best_options(o);
    }
    if (line.verb == Verb::compare) check_comparison(line);
    check_standard_input(line);
    check_columns(line);
    if (line.verb == Verb::train || line.verb == Verb::compare) check_schedule(o.training);
    MaxRatio checked(o.outliers.max_ratio);  // throws UsageError
    if (parse_outlier_budget(o.outliers.budget) > 0 && o.outliers.max_ratio != OutlierOptions().max_ratio)
        refuse("--outlier-budget takes the place of --outlier-max-ratio; give one of the two");
    check_data(line);
}

void check_for_ranks(const CommandLine& line) {
    const DataOptions& data = line.options.data;
    std::vector<std::string> files = {line.options.outliers.data, line.options.generation.prompt_file};
    for (const auto* list : {&data.files, &data.eval_files}) files.insert(files.end(), list->begin(), list->end());
    if (std::ranges::find(files, kStandardInput) != files.end())
        throw UsageError("standard input (-) reaches the first rank alone: give several ranks a file to read");
}

void apply_paper_settings(CommandLine& line) {
    if (line.options.compute.method != Method::quaff_paper) return;
    CommandLine asked = line;
    const std::vector<Row> rows = option_table(line), rows_asked = option_table(asked);
    const auto method = std::ranges::find(rows, std::string_view("method"), &Row::name);
    if (!(method->used_by & takes(line.verb))) return;  // it stands in a file that is for other verbs, too
    line.options = with_paper_settings(line.options);
    for (size_t i = 0; i < rows.size(); ++i) {
        const std::string has = value_text(rows[i]), wanted = value_text(rows_asked[i]);
        if (line.was_given(rows[i].name) && has != wanted && wanted != "auto")
            throw UsageError(concat("--method quaff-paper is the publication's method, ",
                                    has.empty() ? concat("which has no --", rows[i].name)
                                                : concat("whose --", rows[i].name, " is ", has, ", not ", wanted),
                                    "; leave it out, or choose --method quaff"));
    }
}

void note_unused(CommandLine& line, const std::set<std::string>& on_command_line) {
    CommandLine scratch;
    if (line.verb == Verb::info && !line.plan)
        for (const Row& row : option_table(scratch))
            if (on_command_line.contains(row.name) && !(row.used_by & kInfo))
                line.unused.push_back(concat(row.name, " without --plan"));
    if (line.verb == Verb::eval && on_command_line.contains("data") && on_command_line.contains("eval-data"))
        line.unused.push_back("eval-data beside --data");
    if (line.verb == Verb::eval && on_command_line.contains("eval-data") && on_command_line.contains("eval-split"))
        line.unused.push_back("eval-split with --eval-data");
    if (line.verb == Verb::eval && on_command_line.contains("grad-bits") && !line.options.data.gradient_error)
        line.unused.push_back("grad-bits without --gradient-error");
    if (line.verb == Verb::generate && line.options.generation.temperature == 0)
        for (const char* name : {"top-k", "top-p"})
            if (on_command_line.contains(name)) line.unused.push_back(concat(name, " without --temperature (greedy)"));
    if (!line.options.compute.method || (line.verb == Verb::info && !line.plan)) return;
    const Method method = *line.options.compute.method;
    const auto note = [&](std::span<const char* const> names) {
        for (const char* name : names)
            if (on_command_line.contains(name)) line.unused.push_back(concat(name, " with --method ", name_of(method)));
    };
    MethodChoices choices;
    choices.outlier_term = line.options.compute.outlier_term.value_or(choices.outlier_term);
    const LinearMethod linear = linear_method(method, choices);
    if (!linear.outliers) note(kOfOutliers);
    if (!linear.outliers || has_smoothing(method)) note(kOptionsOfChoosing);
    if (!linear.has_scales()) note(kOfScaling);
    if (method != Method::quaff && method != Method::quaff_paper) note(kOfQuaff);
    if (!linear.int8) note(kOfInt8);
    if (!has_threshold(method)) note(kOfLlmInt8);
    if (!has_smoothing(method)) note(kOfSmoothing);
}

}  // namespace quaff::cli
