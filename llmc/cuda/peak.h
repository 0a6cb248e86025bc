// How fast this GPU multiplies matrices (llmc/core/peak.h): square products by cuBLASLt, large enough that nothing but
// the tensor cores counts, the best of several rounds. Defined in peak.cuh.
#pragma once

#include "llmc/core/peak.h"
#include "llmc/cuda/device.cuh"

namespace cuda {

template <class T>
Peak measure_peak(const Device<T>& device);

}  // namespace cuda
