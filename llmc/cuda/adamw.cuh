// One AdamW step as torch.optim.AdamW takes it, on the gradient g = grad_scale * grads (clipping and averaging folded
// in).
//
//   p <- p (1 - lr weight_decay)
//   m <- beta1 m + (1 - beta1) g
//   v <- beta2 v + (1 - beta2) g^2
//   p <- p - lr / (1 - beta1^step)  m / (sqrt(v) / sqrt(1 - beta2^step) + eps)
//
// step counts from 1. Loshchilov and Hutter 2019, arXiv 1711.05101.
//
// The four flat buffers are fp32 whatever the device computes in. A thread moves an Eight.
#pragma once

#include <cmath>
#include <span>
#include <type_traits>

#include "llmc/core/operator_options.h"
#include "llmc/cuda/kernel/row_block.cuh"

namespace cuda {

// The step's constants, made in double on the host.
struct AdamWFactors {
    float decay, step_size, root_correction, keep1, take1, keep2, take2, eps, grad_scale;
};

template <class T>
__global__ void adamw_step_kernel(T* params, const T* grads, T* m, T* v, int64_t count, AdamWFactors factors) {
    const auto [n, i] = eight_position(count);
    if (n > 0) return;
    Eight<T> p8 = load_eight(params, i, count), m8 = load_eight(m, i, count), v8 = load_eight(v, i, count);
    const Eight<T> g8 = load_eight(grads, i, count);
#pragma unroll
    for (int k = 0; k < 8; k++) {
        const float g = factors.grad_scale * g8[k];
        m8[k] = fmaf(factors.keep1, m8[k], factors.take1 * g);
        v8[k] = fmaf(factors.keep2, v8[k], factors.take2 * g * g);
        const float denominator = fmaf(sqrtf(v8[k]), factors.root_correction, factors.eps);
        p8[k] = fmaf(p8[k], factors.decay, -(factors.step_size * m8[k] / denominator));
    }
    store_eight(params, i, count, p8);
    store_eight(m, i, count, m8);
    store_eight(v, i, count, v8);
}

inline AdamWFactors adamw_factors(const AdamWOptions& options, int64_t step, float grad_scale) {
    const double t = static_cast<double>(step);
    return {
        .decay = static_cast<float>(1.0 - options.learning_rate * options.weight_decay),
        .step_size = static_cast<float>(options.learning_rate / (1.0 - std::pow(options.beta1, t))),
        .root_correction = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(options.beta2, t))),
        .keep1 = static_cast<float>(options.beta1),
        .take1 = static_cast<float>(1.0 - options.beta1),
        .keep2 = static_cast<float>(options.beta2),
        .take2 = static_cast<float>(1.0 - options.beta2),
        .eps = static_cast<float>(options.eps),
        .grad_scale = grad_scale,
    };
}

template <class T, class D>
void adamw_step(const Device<D>& device, std::span<T> params, std::type_identity_t<std::span<const T>> grads,
                std::type_identity_t<std::span<T>> m, std::type_identity_t<std::span<T>> v, const AdamWOptions& options,
                int64_t step, float grad_scale) {
    static_assert(std::is_same_v<T, float>);
    const int64_t count = static_cast<int64_t>(params.size());
    launch(device, "adamw_step", adamw_step_kernel<T>, eight_blocks(1, count), kEightThreads, 0, params.data(),
           grads.data(), m.data(), v.data(), count, adamw_factors(options, step, grad_scale));
}

}  // namespace cuda
