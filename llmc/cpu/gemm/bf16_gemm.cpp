#include "llmc/cpu/gemm/bf16_gemm.h"

#include "llmc/cpu/gemm/bf16_avx512.h"
#include "llmc/cpu/gemm/bf16_tiles.h"

namespace cpu {

bool has_bf16_instructions() {
#ifdef __x86_64__
    static const bool has = bf16::Avx512::is_supported();
    return has;
#else
    return false;
#endif
}

namespace {

template <class B>
void multiply(const Device& device, char transpose_a, char transpose_b, Matrix<float> y, Matrix<const float> a,
              Matrix<const B> b, int64_t contraction, float alpha, float beta) {
    const bf16::Operand<float> left{a.data, a.stride, transpose_a != 'T'};
    const bf16::Operand<B> right{b.data, b.stride, transpose_b == 'T'};
#ifdef __x86_64__
    if (has_bf16_instructions()) return bf16::gemm<bf16::Avx512>(device, y, left, right, contraction, alpha, beta);
#endif
    bf16::gemm<bf16::Portable>(device, y, left, right, contraction, alpha, beta);
}

}  // namespace

void bf16_gemm(const Device& device, char transpose_a, char transpose_b, Matrix<float> y, Matrix<const float> a,
               Matrix<const float> b, int64_t contraction, float alpha, float beta) {
    multiply(device, transpose_a, transpose_b, y, a, b, contraction, alpha, beta);
}

void bf16_gemm(const Device& device, char transpose_a, char transpose_b, Matrix<float> y, Matrix<const float> a,
               Matrix<const uint16_t> b, int64_t contraction, float alpha, float beta) {
    multiply(device, transpose_a, transpose_b, y, a, b, contraction, alpha, beta);
}

}  // namespace cpu
