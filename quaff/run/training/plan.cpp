#include "quaff/run/training/plan.h"

#include <nlohmann/json.hpp>

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
    const BuildOptions build =
        build_options(options, start, steps.limits, /*training=*/true, device.available_memory());
    const Model<Device> planned(device, files, start.outliers, build, /*plan_only=*/true);
    ordered_json plan = show_plan(
        device, planned.plan(),
        concat("; ", planned.n_recomputed(), " of ", files.config().num_hidden_layers, " blocks are recomputed"),
        terminal);
    plan.update({{"recomputed_blocks", planned.n_recomputed()},
                 {"max_tokens", steps.limits.max_tokens},
                 {"max_sequence_length", steps.limits.max_sequence_length},
                 {"max_labelled", steps.limits.max_labelled}});
    return plan;
}

#define INSTANTIATE(Device) template ordered_json plan(const Options&, Terminal&, const Device&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
