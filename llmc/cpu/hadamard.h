// Rows turned by a block-diagonal Hadamard matrix (llmc/core/hadamard.h), in place:
//
//   x[n, kb .. kb+b-1] = x[n, kb .. kb+b-1] H_b         k = 0 .. I/b - 1
//
// log2(b) levels of sums and differences: between neighbours, then between elements 2, 4, .. b/2 apart. Every device
// adds in this order.
#pragma once

#include "llmc/core/hadamard.h"
#include "llmc/cpu/device.h"

namespace cpu {

using namespace llmc;

// One row, or a part of it that has whole blocks. block: of hadamard_block(); 0 leaves x as it is.
void hadamard_row(float* x, int64_t width, int64_t block);

}  // namespace cpu
