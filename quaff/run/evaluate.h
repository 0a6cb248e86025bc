// Runs a model over the labelled tokens of a data set: evaluation.h says what comes out. The scales stay as they are,
// nothing is dropped out.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "llmc/data/examples.h"
#include "quaff/model/model.h"
#include "quaff/run/evaluation.h"

namespace quaff {

// `batches`: positions in data.examples, each example once; the model's ranks share them. `progress` is called before
// every batch and may throw. Throws Error where the loss of an example is not finite, naming the example of `file`, the
// data's, and the first value of the model that is not finite.
template <class Device>
Evaluation evaluate(Model<Device>& model, const std::string& file, const Dataset& data,
                    const std::vector<std::vector<int64_t>>& batches, bool exact_match,
                    const std::function<void(int64_t done, int64_t total)>& progress);

}  // namespace quaff
