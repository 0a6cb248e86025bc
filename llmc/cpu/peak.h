// How fast this processor multiplies matrices with all threads: int8, and floats as the device does.
#pragma once

#include "llmc/core/peak.h"
#include "llmc/cpu/device.h"

namespace cpu {

// Takes about 0.4 s, more where the backward pass multiplies in another type.
Peak measure_peak(const Device& device);

}  // namespace cpu
