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
//
// A block owns a row and reads it twice, for the maxima and for the sums; the L2 cache holds it in between.
#pragma once

#include "llmc/cuda/kernel/row_block.cuh"

namespace cuda {

constexpr int kDivergenceThreads = 256;

template <class T>
__device__ float largest_of_row(const T* row, int64_t cols) {
    float largest = -INFINITY;
    for (int64_t v = first_column(); v < cols; v += column_step()) {
        const Eight<T> eight = load_eight(row, v, cols, from_float<T>(-INFINITY));
#pragma unroll
        for (int k = 0; k < 8; k++) largest = fmaxf(largest, to_float(eight[k]));
    }
    return block_max(largest);
}

template <class T>
__global__ void __launch_bounds__(kDivergenceThreads)
    kl_divergence_kernel(float* divergences, Matrix<const T> p_logits, Matrix<const T> q_logits) {
    const int64_t n = blockIdx.x, cols = p_logits.cols;
    const T *p = p_logits.row(n), *q = q_logits.row(n);
    const double p_largest = largest_of_row(p, cols), q_largest = largest_of_row(q, cols);
    double p_total = 0, q_total = 0, difference = 0;
    for (int64_t v = first_column(); v < cols; v += column_step()) {
        const Eight<T> p_eight = load_eight(p, v, cols), q_eight = load_eight(q, v, cols);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            if (v + k >= cols) continue;
            const double a = static_cast<double>(to_float(p_eight[k])) - p_largest;
            const double b = static_cast<double>(to_float(q_eight[k])) - q_largest;
            const double weight = static_cast<double>(expf(static_cast<float>(a)));
            p_total += weight;
            q_total += static_cast<double>(expf(static_cast<float>(b)));
            difference += weight * (a - b);
        }
    }
    p_total = block_sum_in_double<kDivergenceThreads>(p_total);
    q_total = block_sum_in_double<kDivergenceThreads>(q_total);
    difference = block_sum_in_double<kDivergenceThreads>(difference);
    if (threadIdx.x == 0) divergences[n] = static_cast<float>(difference / p_total - log(p_total) + log(q_total));
}

template <class T>
void kl_divergence(const Device<T>& device, float* divergences, ConstMatrix<T> p_logits, ConstMatrix<T> q_logits) {
    require(p_logits.rows == q_logits.rows && p_logits.cols == q_logits.cols, "logits of ", p_logits.rows, " x ",
            p_logits.cols, " cannot be compared with those of ", q_logits.rows, " x ", q_logits.cols);
    launch(device, "kl_divergence", kl_divergence_kernel<T>, row_blocks(p_logits.rows), kDivergenceThreads, 0,
           divergences, p_logits, q_logits);
}

}  // namespace cuda
