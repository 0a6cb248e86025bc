// Attention of a generated token (llmc/cpu/attention/attention.h).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "llmc/cpu/attention/tiles.h"
#include "llmc/cpu/simd_math.h"
#include "llmc/cpu/soft_cap.h"

namespace cpu {

// Generation: one query, the last of the k_cache.rows cached positions, against all of them that it sees.
template <class T>
void attention_decode(const Device& device, Matrix<T> out, ConstMatrix<T> q, ConstMatrix<T> k_cache,
                      ConstMatrix<T> v_cache, const AttentionShape& shape) {
    const int64_t length = k_cache.rows;
    const int64_t head_dim = shape.head_dim;
    const SoftCap<T> capped(shape.soft_cap);
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t h = 0; h < shape.n_heads; h++) {
        const Matrix<const T> k = k_cache.columns(h / shape.group() * head_dim, head_dim);
        const Matrix<const T> v = v_cache.columns(h / shape.group() * head_dim, head_dim);
        const T* query = q.data + h * head_dim;
        T* out_head = out.data + h * head_dim;
        std::fill_n(out_head, head_dim, T{0});
        T largest = -std::numeric_limits<T>::infinity();
        T sum = 0;
        constexpr int64_t kBlock = 64;
        for (int64_t begin = first_visible(length - 1, shape); begin < length; begin += kBlock) {
            const int64_t count = std::min(kBlock, length - begin);
            T p[kBlock];
            T block_max = largest;
            for (int64_t j = 0; j < count; j++) {
                const T* key = k.row(begin + j);
                T score = 0;
#pragma omp simd reduction(+ : score)
                for (int64_t d = 0; d < head_dim; d++) score += query[d] * key[d];
                p[j] = score * static_cast<T>(shape.scale);
                if (shape.soft_cap > 0) p[j] = capped(p[j]);
                block_max = std::max(block_max, p[j]);
            }
            const T correction = simd_exp(largest - block_max);
            largest = block_max;
            sum *= correction;
            scale_row(out_head, head_dim, correction);
#pragma omp simd reduction(+ : sum)
            for (int64_t j = 0; j < count; j++) {
                p[j] = simd_exp(p[j] - block_max);
                sum += p[j];
            }
            for (int64_t j = 0; j < count; j++) {
                const T* value = v.row(begin + j);
#pragma omp simd
                for (int64_t d = 0; d < head_dim; d++) out_head[d] += p[j] * value[d];
            }
        }
        scale_row(out_head, head_dim, 1 / sum);
    }
}

}  // namespace cpu
