#include "llmc/core/error.h"
#include "quaff/cli/exit_status.h"
#include "quaff/cli/verb_functions.h"
#include "quaff/model/devices.h"
#include "quaff/run/training/plan.h"
#include "quaff/run/training/trainer.h"

namespace quaff::cli {

template <class Device>
int train(const CommandLine& line, Terminal& terminal, const Device& device) {
    const Options options = with_options_of_adapter(line.options, terminal);
    Trainer<Device> trainer(options, record_of(line, options), terminal, device);
    bool stopped = false;
    const nlohmann::ordered_json result = or_end_all_ranks(*device.comm, [&] { return trainer.run(stopped); });
    if (line.json) print_json(result);
    return stopped ? kStopped : kDone;
}

template <class Device>
int plan(const CommandLine& line, Terminal& terminal, const Device& device) {
    const Options options = with_options_of_adapter(line.options, terminal);
    const nlohmann::ordered_json memory = quaff::plan(options, terminal, device);
    if (line.json) print_json(memory);
    return kDone;
}

#define INSTANTIATE(Device)                                           \
    template int train(const CommandLine&, Terminal&, const Device&); \
    template int plan(const CommandLine&, Terminal&, const Device&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff::cli
