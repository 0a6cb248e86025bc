// The three GEMMs of a linear layer y = x W^T, each y = alpha (product) + beta y; with beta = 0 the old y is not read.
//
//   gemm_nt   y[N,O] = x[N,I] w[O,I]^T        forward
//   gemm_nn   y[N,I] = x[N,O] w[O,I]          gradient of the input
//   gemm_tn   y[A,B] = a[N,A]^T b[N,B]        gradient of a weight, contracted over tokens
//
// float goes to oneDNN's row-major C interface or, if the device's products are bf16 and y has more than kFloatRows
// rows, to bf16_gemm.h; double is three loops for the tests' central differences. With device.threads == 1, threads of
// a parallel region may call them, as attention does.
#pragma once

#include <cstdint>
#include <type_traits>

#include "llmc/cpu/device.h"
#include "llmc/cpu/gemm/bf16_gemm.h"
#include "llmc/cpu/gemm/onednn.h"

namespace cpu {

// The length to which a sum over k terms is padded with zeros: no padding here.
inline int64_t padded_contraction(const Device&, int64_t k) {
    return k;
}

// With so few rows, as in generation, a product takes as long as reading the other operand; packing would only add to
// that.
constexpr int64_t kFloatRows = 2;

// y[M,N] = alpha op(a) op(b) + beta y, where op transposes for 'T' and contracts over K.
template <class T>
void gemm(const Device& device, char transpose_a, char transpose_b, Matrix<T> y, ConstMatrix<T> a, ConstMatrix<T> b,
          int64_t contraction, T alpha, T beta) {
    if (y.empty()) return;
    if constexpr (std::is_same_v<T, float>) {
        // oneDNN leaves an empty contraction undefined: |Oc| = 0 is legal here.
        if (contraction > 0 && device.products == Products::bf16 && y.rows > kFloatRows)
            return bf16_gemm(device, transpose_a, transpose_b, y, a, b, contraction, alpha, beta);
        if (contraction > 0) {
            const OneDnnThreads threads(device.threads);
            check_onednn(dnnl_sgemm(transpose_a, transpose_b, y.rows, y.cols, contraction, alpha, a.data, a.stride,
                                    b.data, b.stride, beta, y.data, y.stride),
                         "dnnl_sgemm", y.rows, y.cols, contraction);
            return;
        }
    }
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t m = 0; m < y.rows; m++) {
        for (int64_t n = 0; n < y.cols; n++) {
            T sum = 0;
            for (int64_t k = 0; k < contraction; k++) {
                sum += (transpose_a == 'T' ? a(k, m) : a(m, k)) * (transpose_b == 'T' ? b(n, k) : b(k, n));
            }
            y(m, n) = alpha * sum + (beta == 0 ? T{0} : beta * y(m, n));
        }
    }
}

template <class T>
void gemm_nt(const Device& device, Matrix<T> y, ConstMatrix<T> x, ConstMatrix<T> w, std::type_identity_t<T> alpha,
             std::type_identity_t<T> beta) {
    gemm(device, 'N', 'T', y, x, w, x.cols, alpha, beta);
}

template <class T>
void gemm_nn(const Device& device, Matrix<T> y, ConstMatrix<T> x, ConstMatrix<T> w, std::type_identity_t<T> alpha,
             std::type_identity_t<T> beta) {
    gemm(device, 'N', 'N', y, x, w, x.cols, alpha, beta);
}

template <class T>
void gemm_tn(const Device& device, Matrix<T> y, ConstMatrix<T> a, ConstMatrix<T> b, std::type_identity_t<T> alpha,
             std::type_identity_t<T> beta) {
    gemm(device, 'T', 'N', y, a, b, a.rows, alpha, beta);
}

}  // namespace cpu
