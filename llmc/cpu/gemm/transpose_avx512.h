// A 16 x 16 matrix of 32-bit elements, transposed in registers: for kernels that pack operands stored along k.
#pragma once

#ifdef __x86_64__

#include <immintrin.h>

#include "llmc/cpu/gemm/unroll.h"

namespace cpu {

// x[i][j] = the old x[j][i]. The intrinsics are masked although they need not be: the others leave a value undefined on
// purpose, which g++ 12 reports as a mistake (GCC bug 105593).
__attribute__((target("avx512f"), always_inline)) inline void transpose_16x16(__m512i (&x)[16]) {
    __m512i t[16];
    LLMC_UNROLL
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_maskz_unpacklo_epi32(0xffff, x[i], x[i + 1]);
        t[i + 1] = _mm512_maskz_unpackhi_epi32(0xffff, x[i], x[i + 1]);
    }
    LLMC_UNROLL
    for (int i = 0; i < 16; i += 4) {
        x[i] = _mm512_maskz_unpacklo_epi64(0xff, t[i], t[i + 2]);
        x[i + 1] = _mm512_maskz_unpackhi_epi64(0xff, t[i], t[i + 2]);
        x[i + 2] = _mm512_maskz_unpacklo_epi64(0xff, t[i + 1], t[i + 3]);
        x[i + 3] = _mm512_maskz_unpackhi_epi64(0xff, t[i + 1], t[i + 3]);
    }
    LLMC_UNROLL
    for (int i = 0; i < 16; i += 8) {
        LLMC_UNROLL
        for (int j = 0; j < 4; j++) {
            t[i + j] = _mm512_maskz_shuffle_i32x4(0xffff, x[i + j], x[i + j + 4], 0x88);
            t[i + j + 4] = _mm512_maskz_shuffle_i32x4(0xffff, x[i + j], x[i + j + 4], 0xdd);
        }
    }
    LLMC_UNROLL
    for (int j = 0; j < 8; j++) {
        x[j] = _mm512_maskz_shuffle_i32x4(0xffff, t[j], t[j + 8], 0x88);
        x[j + 8] = _mm512_maskz_shuffle_i32x4(0xffff, t[j], t[j + 8], 0xdd);
    }
}

}  // namespace cpu

#endif
