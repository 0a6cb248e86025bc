// The fastest a device multiplies matrices: the speed of light that a training step is compared with.
#pragma once

namespace llmc {

// Operations a second, multiplications plus additions: 2 M N K a product. Measured at start-up, by the device's
// measure_peak().
struct Peak {
    double int8_operations = 0;
    double float_operations = 0;  // in the compute type
};

}  // namespace llmc
