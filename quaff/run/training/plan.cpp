#include "quaff/run/training/plan.h"

#include <nlohmann/json.hpp>

#include "llmc/core/bytes.h"
#include "llmc/core/error.h"
#include "quaff/model/devices.h"
#include "quaff/run/memory_room.h"
#include "quaff/run/open_model.h"
#include "quaff/run/starting_point.h"
#include "quaff/run/training/training_data.h"

namespace quaff {

using nlohmann::ordered_json;

template <class Device>
ordered_json plan(const Options& options, Terminal& terminal, const Device& device) {
    const ModelFiles files = open_model_to_run(options, terminal);
    const ExampleReader reader(options, files.config(), terminal);
    const TrainingData data = read_training_data(options, files.config(), reader, terminal);
    const int64_t window = options.training.gradient_accumulation_steps * device.comm->size();
    const StepPlan steps = plan_steps(options, data, reader, files.config(), window);
    StartingPoint start = starting_point(options, files, options.model.adapter, terminal);
    assume_most_outlier_channels(start, options, files.config());
    const int64_t available = device.available_memory();
    const BuildOptions build = build_options(options, start, steps.limits, /*training=*/true, available);
    const Model<Device> planned(device, files, start.outliers, build, /*plan_only=*/true);

    terminal.result(planned.plan().table());
    terminal.result(concat(format_bytes(available), " are available; ", planned.n_recomputed(), " of ",
                           files.config().num_hidden_layers, " blocks are recomputed"));
    const std::string lack = lack_of_memory(device, planned.plan());
    if (!lack.empty()) terminal.warn("this run would not start: " + lack);
    ordered_json kinds = ordered_json::object();
    for (int kind = 0; kind < static_cast<int>(MemoryKind::count); ++kind)
        kinds[name_of(static_cast<MemoryKind>(kind))] = planned.plan().total(static_cast<MemoryKind>(kind));
    return {{"total_bytes", planned.plan().total()},
            {"bytes", kinds},
            {"available_bytes", available},
            {"recomputed_blocks", planned.n_recomputed()},
            {"max_tokens", steps.limits.max_tokens},
            {"max_sequence_length", steps.limits.max_sequence_length},
            {"max_labelled", steps.limits.max_labelled}};
}

#define INSTANTIATE(Device) template ordered_json plan(const Options&, Terminal&, const Device&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
