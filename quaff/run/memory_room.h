// Whether a model finds the memory it needs, before anything is allocated.
#pragma once

#include <memory>
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

// How much memory the device lacks for this plan, and which part of the plan is large, in words; "" if there is enough.
template <class Device>
std::string lack_of_memory(const Device& device, const MemoryPlan& plan);

// The model with the adapter and the scales of its starting point. Throws Error when the plan needs more memory than
// there is.
template <class Device>
std::unique_ptr<Model<Device>> build_model(const ModelFiles& files, const Device& device, const StartingPoint& start,
                                           const BuildOptions& build);

}  // namespace quaff
