// Both passes before the first step, so that the device's libraries have chosen their algorithms by then.
//
// cuBLASLt times its algorithms when it first meets the shape of a product. That takes memory and time that no step can
// spare, so one micro-batch of each size in the coming epoch runs through both passes first.
#pragma once

#include <functional>
#include <span>

#include "quaff/model/model.h"
#include "quaff/run/training/training_data.h"

namespace quaff {

// `step`: steps taken so far. `before_each`, called before each micro-batch, may throw to stop it.
template <class Device>
void rehearse(Model<Device>& model, const StepPlan& steps, std::span<const Example> examples, int64_t step,
              const std::function<void()>& before_each);

}  // namespace quaff
