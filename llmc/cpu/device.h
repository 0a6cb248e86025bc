// cpu::Device: what the model is templated on to run on the host. Every operator takes one first, so that a call in the
// model, `rmsnorm_forward(device, ...)`, finds the operators of the right device by its argument alone.
#pragma once

#include <omp.h>

#include "llmc/error.h"
#include "llmc/tensor.h"

namespace cpu {

using namespace llmc;

struct Device {
    using compute_t = float;  // activations, outlier rows, head
    static constexpr const char* name = "cpu";

    int threads = omp_get_max_threads();
};

}  // namespace cpu
