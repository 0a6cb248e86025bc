#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "quaff/cli/exit_status.h"
#include "quaff/cli/verb_functions.h"
#include "quaff/model/devices.h"
#include "quaff/run/evaluate.h"
#include "quaff/run/memory_room.h"
#include "quaff/run/open_model.h"

namespace quaff::cli {
namespace {

// Tokens of a batch: more at once are not faster and take more memory.
constexpr int64_t kEvaluationTokens = 4096;

}  // namespace

template <class Device>
int evaluate(const CommandLine& line, Terminal& terminal, const Device& device) {
    const Options& options = line.options;
    const ModelFiles files = open_model_to_run(options, terminal);
    const ExampleReader reader(options, files.config(), terminal);
    const Dataset data = reader.read(options.data.files);
    const bool exact_match = wants_exact_match(options.data.exact_match, data, options.data.train_on_source);
    const auto batches = sequential_batches(data.examples, options.data.batch_size, kEvaluationTokens);
    const Progress progress = show_progress(terminal);
    StartingPoint start = starting_point(options, files, options.model.adapter, terminal);
    if (start.calibration == Calibration::on_examples)
        terminal.warn("no --outliers and no --cal-data: the outlier channels are found on --data itself");
    find_outlier_channels(start, options, files, device, reader, data.examples, terminal, progress);
    const auto model = build_model(files, device, start,
                                   build_options(options, start, batch_limits(data.examples, batches),
                                                 /*training=*/false, device.available_memory()));
    terminal.phase("evaluating " + counted(data.size(), "example"));
    const Evaluation evaluation = quaff::evaluate(
        *model, data, batches, exact_match, [&](int64_t done, int64_t total) { progress("evaluating", done, total); });
    terminal.result(concat(in_words(evaluation), " (", name_of(start.method), ", ",
                           counted(evaluation.labelled, "token"), " of ", counted(evaluation.examples, "example"),
                           ")"));
    if (line.json) print_json(to_json(evaluation));
    return kDone;
}

#define INSTANTIATE(Device) template int evaluate(const CommandLine&, Terminal&, const Device&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff::cli
