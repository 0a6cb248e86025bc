// Runs a model over the labelled tokens of a data set, without dropout and with the scales as they are. evaluation.h
// says what comes out.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "llmc/data/examples.h"
#include "quaff/model/model.h"
#include "quaff/run/evaluation.h"

namespace quaff {

// `batches`: positions in data.examples, each example once; the model's ranks share them. `progress` is called before
// every batch and may throw. Throws Error when the loss of a batch is not finite; the message names the first such
// example and the first value in the model that is not finite.
//
// With `reference`, the same model in full precision on the same device, the evaluation also says how far the model is
// from it.
template <class Device>
Evaluation evaluate(Model<Device>& model, const Dataset& data, const std::vector<std::vector<int64_t>>& batches,
                    bool exact_match, const std::function<void(int64_t done, int64_t total)>& progress,
                    Model<Device>* reference = nullptr);

}  // namespace quaff
