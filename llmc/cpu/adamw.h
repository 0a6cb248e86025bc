// One AdamW step as torch.optim.AdamW takes it, on the gradient g = grad_scale * grads (clipping and averaging folded
// in).
//
//   p <- p (1 - lr weight_decay)
//   m <- beta1 m + (1 - beta1) g
//   v <- beta2 v + (1 - beta2) g^2
//   p <- p - lr / (1 - beta1^step)  m / (sqrt(v) / sqrt(1 - beta2^step) + eps)
//
// step counts from 1. Loshchilov and Hutter 2019, arXiv 1711.05101.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <type_traits>

#include "llmc/core/operator_options.h"
#include "llmc/cpu/device.h"

namespace cpu {

template <class T>
void adamw_step(const Device& device, std::span<T> params, std::type_identity_t<std::span<const T>> grads,
                std::type_identity_t<std::span<T>> m, std::type_identity_t<std::span<T>> v, const AdamWOptions& options,
                int64_t step, float grad_scale) {
    const double t = static_cast<double>(step);
    const T decay = static_cast<T>(1.0 - options.learning_rate * options.weight_decay);
    const T step_size = static_cast<T>(options.learning_rate / (1.0 - std::pow(options.beta1, t)));
    const T root_correction = static_cast<T>(1.0 / std::sqrt(1.0 - std::pow(options.beta2, t)));
    const T keep1 = static_cast<T>(options.beta1);
    const T take1 = static_cast<T>(1.0 - options.beta1);
    const T keep2 = static_cast<T>(options.beta2);
    const T take2 = static_cast<T>(1.0 - options.beta2);
    const T eps = static_cast<T>(options.eps);
    const T scale = static_cast<T>(grad_scale);
    T* p = params.data();
    const T* grad = grads.data();
    T* m_data = m.data();
    T* v_data = v.data();
    const int64_t count = static_cast<int64_t>(params.size());
#pragma omp parallel for simd num_threads(device.threads) schedule(static)
    for (int64_t i = 0; i < count; i++) {
        const T g = scale * grad[i];
        m_data[i] = keep1 * m_data[i] + take1 * g;
        v_data[i] = keep2 * v_data[i] + take2 * g * g;
        p[i] = p[i] * decay - step_size * m_data[i] / (std::sqrt(v_data[i]) * root_correction + eps);
    }
}

}  // namespace cpu
