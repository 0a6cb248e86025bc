// Whether a model finds the memory it needs, before anything is allocated.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "llmc/data/sampler.h"
#include "quaff/model/model.h"
#include "quaff/run/options.h"
#include "quaff/run/starting_point.h"

namespace quaff {

// Raises `limits`, which have room for a prompt, so that it can grow to a text of `length` tokens, or of as many as the
// model has positions.
void allow_for_text(BatchLimits& limits, const ModelConfig& config, int64_t length);

// What to build for micro-batches within `limits`. available_memory: bytes on the device.
BuildOptions build_options(const Options& options, const StartingPoint& start, const BatchLimits& limits, bool training,
                           int64_t available_memory);

// Throws Error if a limit on the address space leaves no room for threads and libraries, which would fail without a
// message.
template <class Device>
void require_room_to_begin(const Device& device);

// What build_model() takes.
template <class Device>
MemoryPlan plan_model(const ModelFiles& files, const Device& device, const StartingPoint& start,
                      const BuildOptions& build);

// Prints the table of a plan and what is available, followed by `more`, and warns where that is too little. Returns
// {"total_bytes", "bytes" by kind, "available_bytes"}.
template <class Device>
nlohmann::ordered_json show_plan(const Device& device, const MemoryPlan& plan, const std::string& more,
                                 Terminal& terminal);

// How much memory the device lacks for this plan, and which part of the plan is large, in words; "" if there is enough.
template <class Device>
std::string lack_of_memory(const Device& device, const MemoryPlan& plan);

// Throws Error when the plan needs more memory than there is.
template <class Device>
void require_memory(const Device& device, const MemoryPlan& plan);

// The model with the adapter and the scales of its starting point. Throws Error when the plan needs more memory than
// there is.
template <class Device>
std::unique_ptr<Model<Device>> build_model(const ModelFiles& files, const Device& device, const StartingPoint& start,
                                           const BuildOptions& build);

}  // namespace quaff
