#include "quaff/run/memory_room.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "llmc/core/error.h"
#include "llmc/system/memory_limits.h"
#include "quaff/model/devices.h"
#include "quaff/model/rope_table.h"
#include "quaff/model/saved_adapter.h"

namespace quaff {
namespace {

// Recompute::automatic plans with this share of the available memory. The rest is for what is not planned: data,
// stacks, the page cache through which the model is read.
constexpr double kPlannedShare = 0.9;
// Bytes that the unplanned part takes on the host at least.
constexpr int64_t kUnplanned = int64_t{64} << 20;
// Bytes for each thread: its stack, and the scratch memory that libraries keep for it.
constexpr int64_t kPerThread = int64_t{12} << 20;

}  // namespace

void allow_for_text(BatchLimits& limits, const ModelConfig& config, int64_t length) {
    if (config.max_position_embeddings > 0) length = std::min(length, config.max_position_embeddings);
    limits.max_sequence_length = std::max(limits.max_sequence_length, length);
    // After the prompt, tokens go through the model one by one. Only when the text passes longrope's original length is
    // all of it computed anew (Generator).
    const RopeTable rope(config, length);
    if (rope.is_long(length) != rope.is_long(1)) limits.max_tokens = std::max(limits.max_tokens, length);
}

BuildOptions build_options(const Options& options, const StartingPoint& start, const BatchLimits& limits, bool training,
                           int64_t available_memory) {
    BuildOptions build;
    build.method = start.method;
    static_cast<MethodChoices&>(build) = start;
    build.lora = start.lora;
    build.scale_momentum = start.scale_momentum;
    build.grad_bits = start.grad_bits;
    build.initial_lora = options.lora.init;
    build.b_learning_rate_ratio = options.training.loraplus_lr_ratio;
    build.seed = static_cast<uint64_t>(options.compute.seed);
    build.training = training;
    build.adapters = training || start.adapter.has_value();
    build.max_tokens = limits.max_tokens;
    build.max_sequence_length = limits.max_sequence_length;
    build.max_labelled = limits.max_labelled;
    build.recompute = options.compute.recompute;
    build.memory_limit =
        std::max<int64_t>(1, std::min(static_cast<int64_t>(kPlannedShare * static_cast<double>(available_memory)),
                                      available_memory - kUnplanned));
    return build;
}

template <class Device>
void require_room_to_begin(const Device& device) {
    if constexpr (std::is_same_v<Device, cpu::Device>) {
        const int64_t needed = kUnplanned + device.threads * kPerThread, room = address_space_room();
        require(needed <= room, "out of memory before the first step: ", format_bytes(needed), " of address space are ",
                "needed beside the model, but RLIMIT_AS leaves ", format_bytes(room),
                "; raise it (ulimit -v), or lower --threads");
    }
}

template <class Device>
MemoryPlan plan_model(const ModelFiles& files, const Device& device, const StartingPoint& start,
                      const BuildOptions& build) {
    return Model<Device>(device, files, start.outliers, build, /*plan_only=*/true).plan();
}

template <class Device>
nlohmann::ordered_json show_plan(const Device& device, const MemoryPlan& plan, const std::string& more,
                                 Terminal& terminal) {
    const int64_t available = device.available_memory();
    terminal.result(plan.table());
    terminal.result(concat(format_bytes(available), " are available", more));
    const std::string lack = lack_of_memory(device, plan);
    if (!lack.empty()) terminal.warn("this run would not start: " + lack);
    nlohmann::ordered_json kinds = nlohmann::ordered_json::object();
    for (int kind = 0; kind < static_cast<int>(MemoryKind::count); ++kind)
        kinds[name_of(static_cast<MemoryKind>(kind))] = plan.total(static_cast<MemoryKind>(kind));
    return {{"total_bytes", plan.total()}, {"bytes", kinds}, {"available_bytes", available}};
}

template <class Device>
std::string lack_of_memory(const Device& device, const MemoryPlan& plan) {
    const int64_t available = device.available_memory();
    const int64_t more = std::is_same_v<Device, cpu::Device> ? kUnplanned : 0;
    const int64_t lack = plan.total() + more - available;
    if (lack <= 0) return "";
    return concat("the run needs ", format_bytes(plan.total()),
                  more > 0 ? " and another " + format_bytes(more) + " for the program" : "", ", but ",
                  format_bytes(available), " are available. Much of it is ", plan.blame(lack));
}

template <class Device>
void require_memory(const Device& device, const MemoryPlan& plan) {
    const std::string lack = lack_of_memory(device, plan);
    require(lack.empty(), "out of memory before the first step: ", lack, " (--plan shows what takes how much)");
}

template <class Device>
std::unique_ptr<Model<Device>> build_model(const ModelFiles& files, const Device& device, const StartingPoint& start,
                                           const BuildOptions& build) {
    require_memory(device, plan_model(files, device, start, build));
    auto model = std::make_unique<Model<Device>>(device, files, start.outliers, build);
    if (start.adapter) load_adapter(*model, *start.adapter);
    load_scales(*model, start.scales);
    return model;
}

#define INSTANTIATE(Device)                                                                                      \
    template void require_room_to_begin(const Device&);                                                          \
    template MemoryPlan plan_model(const ModelFiles&, const Device&, const StartingPoint&, const BuildOptions&); \
    template nlohmann::ordered_json show_plan(const Device&, const MemoryPlan&, const std::string&, Terminal&);  \
    template std::string lack_of_memory(const Device&, const MemoryPlan&);                                       \
    template void require_memory(const Device&, const MemoryPlan&);                                              \
    template std::unique_ptr<Model<Device>> build_model(const ModelFiles&, const Device&, const StartingPoint&,  \
                                                        const BuildOptions&);
QUAFF_FOR_EACH_DEVICE(INSTANTIATE)

}  // namespace quaff
