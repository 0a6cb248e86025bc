#include "quaff/cli/verbs.h"

#include <nlohmann/json.hpp>

#include "llmc/core/error.h"
#include "quaff/cli/verb_functions.h"
#include "quaff/model/devices.h"
#include "quaff/run/ranks.h"

namespace quaff::cli {
namespace {

template <class Device>
using Function = int (*)(const CommandLine&, Terminal&, const Device&);

template <class Device>
constexpr Function<Device> function_of(Verb verb) {
    switch (verb) {
        case Verb::train:
            return train<Device>;
        case Verb::calibrate:
            return calibrate<Device>;
        case Verb::eval:
            return evaluate<Device>;
        case Verb::compare:
            return [](const CommandLine& line, Terminal& terminal, const Device& device) {
                return compare(line, terminal, *device.comm);
            };
        case Verb::generate:
            return generate<Device>;
        case Verb::merge:
            return [](const CommandLine& line, Terminal& terminal, const Device&) { return merge(line, terminal); };
        case Verb::tokenize:
            return [](const CommandLine& line, Terminal&, const Device&) { return tokenize(line); };
        case Verb::report:
            return [](const CommandLine& line, Terminal& terminal, const Device&) { return report(line, terminal); };
        case Verb::info:
            return [](const CommandLine& line, Terminal& terminal, const Device&) { return info(line, terminal); };
    }
    return nullptr;
}

}  // namespace

template <class Device>
int run_verb(const CommandLine& line, Terminal& terminal, const Device& device) {
    for (const std::string& name : line.unused)
        terminal.warn(concat(info_of(line.verb).name, " does not use --", name));
    const bool shared = needs_of(line).all_ranks;
    device.comm->set_time_limit(shared ? kPatience : 0);
    if (!shared && !device.comm->is_first()) return kDone;
    if (line.show_tokens > 0) return show_tokens(line, terminal);
    if (line.plan && line.verb != Verb::eval) return plan(line, terminal, device);
    return function_of<Device>(line.verb)(line, terminal, device);
}

void print_json(const nlohmann::ordered_json& object) {
    print(stdout, object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

Progress show_progress(Terminal& terminal) {
    return [line = ProgressLine(terminal)](const std::string& what, int64_t done, int64_t total) mutable {
        line.show(what, done, total);
    };
}

#define INSTANTIATE(Device) template int run_verb(const CommandLine&, Terminal&, const Device&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff::cli
