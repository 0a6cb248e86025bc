// SHA-256 digests that tell whether two runs, or two ranks of a run, have the same model, data, channels or state.
#pragma once

#include <span>
#include <string>

#include "llmc/data/batch.h"
#include "quaff/files/model_files.h"
#include "quaff/files/outliers.h"
#include "quaff/model/model.h"

namespace quaff {

// Of config.json and of every tensor's name, dtype, shape and first 4 KiB: enough to notice another model, or the same
// one trained further, without reading all of it. Reads config.json anew: take it once, when a run begins.
std::string fingerprint(const ModelFiles& files);

// Of all token ids and labels, in order.
std::string fingerprint(std::span<const Example> examples);

// Of the channels alone.
std::string fingerprint(const OutlierChannels& outliers);

// Of all that training changes: adapters, AdamW's moments, scales.
template <class Device>
std::string fingerprint_of_state(Model<Device>& model);

}  // namespace quaff
