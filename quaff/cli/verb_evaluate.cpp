#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "llmc/core/error.h"
#include "quaff/cli/exit_status.h"
#include "quaff/cli/verb_functions.h"
#include "quaff/model/devices.h"
#include "quaff/run/memory_room.h"
#include "quaff/run/metrics/measure.h"
#include "quaff/run/open_model.h"

namespace quaff::cli {
namespace {

// The options of the full-precision model that --reference compares with; none where nothing is to be compared.
template <class Device>
std::optional<BuildOptions> options_of_reference(const Options& options, const BuildOptions& build,
                                                 const Device& device) {
    const bool rounds_products = std::string_view(device.compute_name()) != full_precision(device).compute_name();
    if (!options.data.reference || (build.method == Method::fp && !rounds_products)) return {};
    BuildOptions reference = build;
    reference.method = Method::fp;
    return reference;
}

// The examples to evaluate, and the rest of --data: with --eval-split, what training would hold out and what it would
// train on; else all and none.
std::pair<Dataset, Dataset> read_examples(const Options& options, const ExampleReader& reader, Terminal& terminal) {
    Dataset all = reader.read(options.data.files);
    if (options.data.eval_split == 0) {
        take_eval_samples(all, options, terminal);
        return {std::move(all), Dataset()};
    }
    auto [rest, held_out] = split(std::move(all), options.data.eval_split, static_cast<uint64_t>(options.compute.seed));
    terminal.line(concat("evaluated on what training would hold out: ", counted(held_out.size(), "example")));
    take_eval_samples(held_out, options, terminal);
    return {std::move(held_out), std::move(rest)};
}

}  // namespace

template <class Device>
int evaluate(const CommandLine& line, Terminal& terminal, const Device& device) {
    const Options& options = line.options;
    if (device.comm->is_first()) check_predictions_file(options.data.predictions);
    const ModelFiles files = open_model_to_run(options, terminal);
    const ExampleReader reader(options, files.config(), terminal);
    const auto [data, rest] = read_examples(options, reader, terminal);
    const Task task = plan_task(options, data, reader, files.config(), terminal);
    const auto batches = sequential_batches(data.examples, options.data.batch_size, kEvaluationTokens);
    const Progress progress = show_progress(terminal);
    StartingPoint start = starting_point(options, files, options.model.adapter, terminal);
    if (line.plan) {
        assume_most_outlier_channels(start, options, files.config());
    } else {
        const std::span<const Example> examples = rest.examples.empty() ? data.examples : rest.examples;
        if (start.calibration == Calibration::on_examples && rest.examples.empty())
            terminal.warn("no --outliers and no --cal-data: the outlier channels are found on --data itself");
        find_outlier_channels(start, options, files, device, reader, examples, terminal, progress);
    }
    BatchLimits limits = batch_limits(data.examples, batches);
    allow_for_task(limits, task, data, reader, files.config());
    const BuildOptions build =
        build_options(options, start, limits, options.data.gradient_error, device.available_memory());
    const std::optional<BuildOptions> of_reference = options_of_reference(options, build, device);
    if (line.plan || of_reference) {  // build_model() looks after the memory of one model
        MemoryPlan plan = plan_model(files, device, start, build);
        if (of_reference) plan.add(plan_model(files, full_precision(device), start, *of_reference), "reference");
        if (!line.plan) {
            require_memory(device, plan);
        } else {
            const nlohmann::ordered_json memory = show_plan(device, plan, "", terminal);
            if (line.json) print_json(memory);
            return kDone;
        }
    }
    const auto model = build_model(files, device, start, build);
    const auto reference = of_reference ? build_model(files, full_precision(device), start, *of_reference)
                                        : std::unique_ptr<Model<Device>>();
    terminal.phase("evaluating " + counted(data.size(), "example"));
    Evaluation evaluation = evaluate_task(*model, data, batches, task, reader, progress, reference.get());
    if (options.data.reference && !reference) evaluation.divergence_sum = 0;  // it is full precision itself
    if (options.data.gradient_error && reference) {
        terminal.phase("comparing gradients");
        evaluation.gradients = compare_gradients(*model, *reference, data, batches, [&](int64_t done, int64_t total) {
            progress("comparing gradients", done, total);
        });
    }
    terminal.result(concat(in_words(evaluation), " (", name_of(start.method), ", ",
                           counted(evaluation.labelled, "token"), " of ", counted(evaluation.examples, "example"),
                           ")"));
    if (line.json) print_json(to_json(evaluation));
    return kDone;
}

#define INSTANTIATE(Device) template int evaluate(const CommandLine&, Terminal&, const Device&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff::cli
