#include "llmc/tokenizer/step_limits.h"

#include <algorithm>

#include "llmc/core/error.h"
#include "llmc/io/json.h"

namespace llmc {

void StepLimits::add(const JsonObject& step, double growth) {
    growth_ *= std::max(1.0, growth);
    require(++steps_ <= kMostSteps, step.field("type"), " is the step after ", kMostSteps,
            " others; a tokenizer of that many steps is not supported");
    require(growth_ <= kMostGrowth, step.field("type"), " and the steps before it may make a text ", growth_,
            " times as long; up to ", kMostGrowth, " times is supported");
}

}  // namespace llmc
