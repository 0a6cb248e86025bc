// Softmax cross-entropy over the vocabulary, one label a row.
//
//   losses[n]  = log sum_v exp(logits[n,v]) - logits[n, labels[n]]
//   correct[n] = (argmax_v logits[n,v] == labels[n]), the lowest v where several are largest
//   dlogits    = (softmax(logits) - onehot(label)) grad_scale, in place of the logits
//
// With a soft cap c > 0 cross_entropy_forward_backward takes the logits x before the cap, for which `logits` above is
// y = c tanh(x / c), and dx = dlogits (1 - (y / c)^2) takes their place. `correct` compares x, which y orders alike.
//
// All written (=). Computed relative to the row's maximum, so that no logit overflows. `labels` lies in device memory;
// the host has checked that each is a column of the logits.
//
// A block owns a row. One pass finds the maximum and the sum of exponentials together: a thread keeps its own running
// maximum and corrects its sum when that grows (Milakov and Gimelshein 2018, arXiv 1805.02867); the block then brings
// the sums to a common maximum. The gradient needs a second pass; a vocabulary does not fit into shared memory, so it
// walks back from the end of the row, which the L2 cache still holds.
#pragma once

#include <cfloat>
#include <span>

#include "llmc/core/integers.h"
#include "llmc/core/operator_options.h"
#include "llmc/cuda/kernel/row_block.cuh"
#include "llmc/cuda/kernel/soft_cap.cuh"

namespace cuda {

// Enough threads for a row of 100,000 logits; two blocks on a multiprocessor that holds 2048.
constexpr int kSoftmaxThreads = 1024;

struct SoftmaxRow {
    float largest;  // with a cap that of y
    float total;    // sum_v exp(logits[v] - largest)
    float loss;
    bool correct;
};

// Called by all threads of a block. Ends with a barrier: the row may be overwritten then.
template <bool kCapped, class T>
__device__ SoftmaxRow softmax_row(const T* logits, int vocabulary, int label, const SoftCap& cap) {
    const auto capped = [&](float x) { return kCapped ? cap(x) : x; };
    const float label_logit = to_float(logits[label]);
    float largest = -FLT_MAX, total = 0;  // of this thread's logits
    float shift = capped(largest);
    bool earlier = false;  // whether one before the label equals it
    for (int v = first_column(); v < vocabulary; v += column_step()) {
        const Eight<T> eight = load_eight(logits, v, vocabulary, from_float<T>(-INFINITY));
        float highest = to_float(eight[0]);
#pragma unroll
        for (int k = 1; k < 8; k++) highest = fmaxf(highest, to_float(eight[k]));
        if (highest > largest) {
            total *= expf(shift - capped(highest));
            largest = highest;
            shift = capped(highest);
        }
#pragma unroll
        for (int k = 0; k < 8; k++) {
            // What is beyond the row is -inf and adds nothing, but would with a cap.
            if (!kCapped || v + k < vocabulary) total += expf(capped(to_float(eight[k])) - shift);
            if (v + k < label && to_float(eight[k]) == label_logit) earlier = true;
        }
    }
    const float row_largest = block_max(largest);
    const float row_shift = capped(row_largest);
    const float row_total = block_sum(total * expf(shift - row_shift));
    return {row_shift, row_total, logf(row_total) + (row_shift - capped(label_logit)),
            !__syncthreads_or(earlier) && label_logit == row_largest};
}

template <class T>
__global__ void __launch_bounds__(kSoftmaxThreads)
    cross_entropy_forward_kernel(float* losses, uint8_t* correct, Matrix<const T> logits, const int32_t* labels) {
    const int64_t n = blockIdx.x;
    const SoftmaxRow softmax = softmax_row<false>(logits.row(n), static_cast<int>(logits.cols), labels[n], SoftCap(1));
    if (threadIdx.x != 0) return;
    losses[n] = softmax.loss;
    correct[n] = softmax.correct;
}

template <class T, bool kCapped>
__global__ void __launch_bounds__(kSoftmaxThreads)
    cross_entropy_forward_backward_kernel(float* losses, uint8_t* correct, Matrix<T> logits, const int32_t* labels,
                                          float grad_scale, float soft_cap) {
    const SoftCap cap(kCapped ? soft_cap : 1);
    const int64_t n = blockIdx.x;
    T* row = logits.row(n);
    const int vocabulary = static_cast<int>(logits.cols), label = labels[n];
    const SoftmaxRow softmax = softmax_row<kCapped>(row, vocabulary, label, cap);
    if (threadIdx.x == 0) {
        losses[n] = softmax.loss;
        correct[n] = softmax.correct;
    }
    const float scale = grad_scale / softmax.total;
    const int rounds = ceil_div(vocabulary, column_step());
    for (int v = first_column() + (rounds - 1) * column_step(); v >= 0; v -= column_step()) {
        if (v >= vocabulary) continue;
        Eight<T> eight = load_eight(row, v, vocabulary);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            const float onehot = v + k == label ? grad_scale : 0.0f;
            const float logit = kCapped ? cap(to_float(eight[k])) : to_float(eight[k]);
            const float gradient = fmaf(expf(logit - softmax.largest), scale, -onehot);
            eight[k] = from_float<T>(kCapped ? gradient * cap.slope(logit) : gradient);
        }
        store_eight(row, v, vocabulary, eight);
    }
}

inline dim3 softmax_threads(int64_t vocabulary) {
    const int64_t warps = ceil_div(vocabulary, 8 * kWarpSize);
    return dim3(static_cast<unsigned>(kWarpSize * std::clamp<int64_t>(warps, 1, kSoftmaxThreads / kWarpSize)));
}

template <class T>
void cross_entropy_forward(const Device<T>& device, float* losses, uint8_t* correct, ConstMatrix<T> logits,
                           std::span<const int32_t> labels) {
    launch(device, "cross_entropy_forward", cross_entropy_forward_kernel<T>, row_blocks(logits.rows),
           softmax_threads(logits.cols), 0, losses, correct, logits, labels.data());
}

template <class T>
void cross_entropy_forward_backward(const Device<T>& device, float* losses, uint8_t* correct, Matrix<T> logits,
                                    std::span<const int32_t> labels, float grad_scale, float soft_cap = 0) {
    require_soft_cap(soft_cap);
    launch(
        device, "cross_entropy_forward_backward",
        soft_cap > 0 ? cross_entropy_forward_backward_kernel<T, true> : cross_entropy_forward_backward_kernel<T, false>,
        row_blocks(logits.rows), softmax_threads(logits.cols), 0, losses, correct, logits, labels.data(), grad_scale,
        soft_cap);
}

}  // namespace cuda
