// How fast a device multiplies matrices at best: the speed of light for a training step.
#pragma once

namespace llmc {

// Operations per second, multiplications plus additions: a product has 2 M N K. Measured at start-up by the device's
// measure_peak().
struct Peak {
    double int8_operations = 0;
    double float_operations = 0;     // in the compute type
    double gradient_operations = 0;  // floats in the backward pass
};

}  // namespace llmc
