// GEMMs whose operands are rounded to bf16 on their way in and whose sums are floats: all products but the int8 ones,
// if the device's products are bf16.
//
//   y[M,N] = alpha op(a)[M,K] op(b)[K,N] + beta y        with beta = 0 the old y is not read
//
// op transposes for 'T'. b may hold bf16 bits already. No rounded copy of a whole operand ever exists (bf16_tiles.h).
// Rounding is to nearest, ties to even; bf16_kernel.h says what depends on the processor.
#pragma once

#include <cstdint>

#include "llmc/cpu/device.h"

namespace cpu {

// Whether this processor multiplies bf16 faster than float, and ONEDNN_MAX_CPU_ISA does not forbid it.
bool has_bf16_instructions();

// K > 0.
void bf16_gemm(const Device& device, char transpose_a, char transpose_b, Matrix<float> y, Matrix<const float> a,
               Matrix<const float> b, int64_t contraction, float alpha, float beta);
void bf16_gemm(const Device& device, char transpose_a, char transpose_b, Matrix<float> y, Matrix<const float> a,
               Matrix<const uint16_t> b, int64_t contraction, float alpha, float beta);

}  // namespace cpu
