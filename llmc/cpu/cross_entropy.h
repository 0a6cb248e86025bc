// Softmax cross-entropy over the vocabulary, one label a row.
//
//   losses[n]  = log sum_v exp(logits[n,v]) - logits[n, labels[n]]
//   correct[n] = (argmax_v logits[n,v] == labels[n]), the lowest v where several are largest
//   dlogits    = (softmax(logits) - onehot(label)) grad_scale, in place of the logits
//
// With a soft cap c > 0 cross_entropy_forward_backward takes the logits x before the cap, for which `logits` above is
// y = c tanh(x / c), and dx = dlogits (1 - (y / c)^2) takes their place. `correct` compares x, which y orders alike.
//
// All written (=). Computed relative to the row's maximum, so that no logit overflows.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

#include "llmc/core/operator_options.h"
#include "llmc/cpu/device.h"
#include "llmc/cpu/simd_math.h"
#include "llmc/cpu/soft_cap.h"

namespace cpu {

inline void require_labels(std::span<const int32_t> labels, int64_t vocabulary) {
    for (size_t n = 0; n < labels.size(); n++) {
        require(labels[n] >= 0 && labels[n] < vocabulary, "label ", n, " is ", labels[n], ", but the head has ",
                vocabulary, " outputs. The tokenizer and the model do not belong together.");
    }
}

template <class T>
T row_max(const T* x, int64_t count) {
    T largest = x[0];
#pragma omp simd reduction(max : largest)
    for (int64_t i = 1; i < count; i++) largest = x[i] > largest ? x[i] : largest;  // std::max does not vectorise
    return largest;
}

// No earlier logit is as large, no later one larger.
template <class T>
bool is_argmax(const T* logits, T largest, int32_t label) {
    return logits[label] == largest && std::find(logits, logits + label, largest) == logits + label;
}

// Long rows are summed in blocks, the blocks in double: 100,000 terms lose nothing to the running sum.
constexpr int64_t kSoftmaxBlock = 4096;

template <class T>
void cross_entropy_forward(const Device& device, T* losses, uint8_t* correct, ConstMatrix<T> logits,
                           std::span<const int32_t> labels) {
    require_labels(labels, logits.cols);
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t n = 0; n < logits.rows; n++) {
        const T* row = logits.row(n);
        const T largest = row_max(row, logits.cols);
        double total = 0;
        for (int64_t begin = 0; begin < logits.cols; begin += kSoftmaxBlock) {
            const int64_t end = std::min(begin + kSoftmaxBlock, logits.cols);
            T sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t v = begin; v < end; v++) sum += simd_exp(row[v] - largest);
            total += static_cast<double>(sum);
        }
        losses[n] = static_cast<T>(std::log(total) + static_cast<double>(largest - row[labels[n]]));
        correct[n] = is_argmax(row, largest, labels[n]);
    }
}

template <bool kCapped, class T>
void cross_entropy_gradient(const Device& device, T* losses, uint8_t* correct, Matrix<T> logits,
                            std::span<const int32_t> labels, float grad_scale, float soft_cap) {
    const SoftCap<T> capped(soft_cap);
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t n = 0; n < logits.rows; n++) {
        T* row = logits.row(n);
        const int32_t label = labels[n];
        T largest = row_max(row, logits.cols);
        correct[n] = is_argmax(row, largest, label);
        T label_logit = row[label];
        if constexpr (kCapped) {
            largest = capped(largest);
            label_logit = capped(label_logit);
        }
        double total = 0;
        for (int64_t begin = 0; begin < logits.cols; begin += kSoftmaxBlock) {
            const int64_t end = std::min(begin + kSoftmaxBlock, logits.cols);
            T sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t v = begin; v < end; v++) {
                const T logit = kCapped ? capped(row[v]) : row[v];
                const T e = simd_exp(logit - largest);
                row[v] = kCapped ? logit : e;  // the slope of the cap needs the logit once more
                sum += e;
            }
            total += static_cast<double>(sum);
        }
        losses[n] = static_cast<T>(std::log(total) + static_cast<double>(largest - label_logit));
        const T scale = static_cast<T>(static_cast<double>(grad_scale) / total);
        if constexpr (kCapped) {
#pragma omp simd
            for (int64_t v = 0; v < logits.cols; v++)
                row[v] = simd_exp(row[v] - largest) * scale * capped.slope(row[v]);
            row[label] -= static_cast<T>(grad_scale) * capped.slope(label_logit);
        } else {
#pragma omp simd
            for (int64_t v = 0; v < logits.cols; v++) row[v] *= scale;
            row[label] -= static_cast<T>(grad_scale);
        }
    }
}

template <class T>
void cross_entropy_forward_backward(const Device& device, std::type_identity_t<T>* losses, uint8_t* correct,
                                    Matrix<T> logits, std::span<const int32_t> labels, float grad_scale,
                                    float soft_cap = 0) {
    require_labels(labels, logits.cols);
    require_soft_cap(soft_cap);
    if (soft_cap > 0)
        cross_entropy_gradient<true>(device, losses, correct, logits, labels, grad_scale, soft_cap);
    else
        cross_entropy_gradient<false>(device, losses, correct, logits, labels, grad_scale, soft_cap);
}

}  // namespace cpu
