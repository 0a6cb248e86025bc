// How far one distribution over the vocabulary is from another, row by row: Kullback-Leibler divergence, in nats.
//
//   divergences[n] = KL(p || q) = sum_v p[n,v] (log p[n,v] - log q[n,v])
//   p = softmax(p_logits), q = softmax(q_logits)
//
// With a = p_logits - max(p_logits) and b = q_logits - max(q_logits), both of one row:
//
//   KL = sum_v e^a (a - b) / sum_v e^a - log sum_v e^a + log sum_v e^b
//
// Written (=). No logit overflows, for none is above its row's maximum, and equal rows give exactly 0. The sums are in
// double: the difference of two models is a thousandth of what is summed. Kullback and Leibler 1951.
#pragma once

#include <cmath>
#include <cstdint>

#include "llmc/cpu/cross_entropy.h"

namespace cpu {

template <class T>
void kl_divergence(const Device& device, T* divergences, ConstMatrix<T> p_logits, ConstMatrix<T> q_logits) {
    require(p_logits.rows == q_logits.rows && p_logits.cols == q_logits.cols, "logits of ", p_logits.rows, " x ",
            p_logits.cols, " cannot be compared with those of ", q_logits.rows, " x ", q_logits.cols);
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t n = 0; n < p_logits.rows; n++) {
        const T *p = p_logits.row(n), *q = q_logits.row(n);
        const auto p_largest = static_cast<double>(row_max(p, p_logits.cols));
        const auto q_largest = static_cast<double>(row_max(q, q_logits.cols));
        double p_total = 0, q_total = 0, difference = 0;
#pragma omp simd reduction(+ : p_total, q_total, difference)
        for (int64_t v = 0; v < p_logits.cols; v++) {
            const double a = static_cast<double>(p[v]) - p_largest, b = static_cast<double>(q[v]) - q_largest;
            const auto weight = static_cast<double>(simd_exp(static_cast<T>(a)));
            p_total += weight;
            q_total += static_cast<double>(simd_exp(static_cast<T>(b)));
            difference += weight * (a - b);
        }
        divergences[n] = static_cast<T>(difference / p_total - std::log(p_total) + std::log(q_total));
    }
}

}  // namespace cpu
