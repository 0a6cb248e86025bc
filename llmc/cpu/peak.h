// How fast this processor multiplies matrices: int8, and floats as the device does, all threads together.
#pragma once

#include "llmc/core/peak.h"
#include "llmc/cpu/device.h"

namespace cpu {

// Takes about 0.4 s.
Peak measure_peak(const Device& device);

}  // namespace cpu
