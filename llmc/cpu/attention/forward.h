// The forward pass of attention (llmc/cpu/attention/attention.h).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

#include "llmc/core/integers.h"
#include "llmc/cpu/attention/tiles.h"
#include "llmc/cpu/gemm/gemm.h"
#include "llmc/cpu/simd_math.h"
#include "llmc/cpu/soft_cap.h"

namespace cpu {

// The scores of a key tile [keys, rows], where a row sees the key; the others are cleared later.
template <class T>
void cap_scores(Matrix<T> scores, const Range& keys, const Range& queries, const AttentionShape& shape) {
    const SoftCap<T> capped(shape.soft_cap);
    for (int64_t j = 0; j < scores.rows; j++) {
        const Range seen = rows_that_see(keys.begin + j, queries, shape);
        T* of_key = scores.row(j);
#pragma omp simd
        for (int64_t row = seen.begin; row < seen.end; row++) of_key[row] = capped(of_key[row]);
    }
}

// One step of the online softmax. p [keys, rows] holds the scores of a key tile and becomes e^(score - maximum so far).
// row_max and row_sum are updated; row_correction is the factor for sums made with the old maxima.
template <class T>
void exponentiate(const AttentionScratch<T>& scratch, Matrix<T> p, const Range& keys, const Range& queries,
                  const AttentionShape& shape) {
    T *const largest = scratch.row_max, *const before = scratch.row_old_max, *const correction = scratch.row_correction,
             *const sum = scratch.row_sum;
    std::copy_n(largest, p.cols, before);
    for (int64_t j = 0; j < p.rows; j++) {
        const Range seen = rows_that_see(keys.begin + j, queries, shape);
        const T* scores = p.row(j);
#pragma omp simd
        for (int64_t row = seen.begin; row < seen.end; row++)
            largest[row] = scores[row] > largest[row] ? scores[row] : largest[row];
    }
#pragma omp simd
    for (int64_t row = 0; row < p.cols; row++) {
        // A row that has seen no key yet has nothing to correct, and -inf - -inf would be NaN.
        correction[row] = before[row] == largest[row] ? T{1} : simd_exp(before[row] - largest[row]);
        sum[row] *= correction[row];
    }
    for (int64_t j = 0; j < p.rows; j++) {
        const Range seen = rows_that_see(keys.begin + j, queries, shape);
        T* scores = p.row(j);
        clear_unseen(scores, seen, p.cols);
#pragma omp simd
        for (int64_t row = seen.begin; row < seen.end; row++) {
            scores[row] = simd_exp(scores[row] - largest[row]);
            sum[row] += scores[row];
        }
    }
}

// One query tile against all the keys it sees.
template <class T>
void attention_forward_tile(const Device& serial, const AttentionScratch<T>& scratch, Matrix<T> out, Matrix<T> lse,
                            const AttentionHead<const T>& head, const Range& queries, const AttentionShape& shape) {
    const int64_t group = shape.group();
    const Matrix<T> q = stack_group(scratch.q, head.q, queries);
    const Matrix<T> acc = scratch.acc.first_rows(q.rows);
    std::fill_n(scratch.row_max, q.rows, -std::numeric_limits<T>::infinity());
    std::fill_n(scratch.row_sum, q.rows, T{0});

    const int64_t first_tile = first_visible(queries.begin, shape) / AttentionTiling::kKeys;
    for (int64_t tile = first_tile; tile * AttentionTiling::kKeys < queries.end; tile++) {
        const Range keys = AttentionTiling::key_tile(tile, queries.end);
        const Matrix<T> p = scratch.p.first_rows(keys.size()).columns(0, q.rows);
        gemm_nt(serial, p, head.k.rows_at(keys.begin, keys.size()), q, static_cast<T>(shape.scale), T{0});
        if (shape.soft_cap > 0) cap_scores(p, keys, queries, shape);
        exponentiate(scratch, p, keys, queries, shape);
        if (tile > first_tile)
            for (int64_t row = 0; row < q.rows; row++) scale_row(acc.row(row), acc.cols, scratch.row_correction[row]);
        gemm_tn(serial, acc, p, head.v.rows_at(keys.begin, keys.size()), T{1}, tile > first_tile ? T{1} : T{0});
    }
    for (int64_t row = 0; row < q.rows; row++) {
        const int64_t i = queries.begin + row / group;
        const T inverse = 1 / scratch.row_sum[row];
        T* out_row = out.row(i) + row % group * acc.cols;
#pragma omp simd
        for (int64_t d = 0; d < acc.cols; d++) out_row[d] = acc(row, d) * inverse;
        lse(i, row % group) = scratch.row_max[row] + std::log(scratch.row_sum[row]);
    }
}

template <class T>
void attention_forward(const Device& device, Matrix<T> out, Matrix<T> lse, ConstMatrix<T> qkv,
                       std::span<const int32_t> cu_seqlens, int64_t max_sequence_length, const AttentionShape& shape,
                       std::type_identity_t<std::span<T>> workspace) {
    require_attention_workspace(device, shape, static_cast<int64_t>(workspace.size()));
    const AttentionTiling tiling(shape);
    const int64_t sequences = static_cast<int64_t>(cu_seqlens.size()) - 1;
    const int64_t tiles = ceil_div(max_sequence_length, tiling.queries);
    const int64_t group = shape.group();
    const Device serial = device.alone();
#pragma omp parallel num_threads(device.threads)
    {
        const AttentionScratch<T> scratch(workspace, omp_get_thread_num(), shape);
// Late query tiles see the most keys and come first, so that the threads finish together.
#pragma omp for collapse(3) schedule(dynamic)
        for (int64_t from_last = 1; from_last <= tiles; from_last++) {
            for (int64_t s = 0; s < sequences; s++) {
                for (int64_t kv_head = 0; kv_head < shape.n_kv_heads; kv_head++) {
                    const int64_t begin = cu_seqlens[s];
                    const int64_t length = cu_seqlens[s + 1] - begin;
                    const Range queries = tiling.query_tile(tiles - from_last, length);
                    if (queries.size() <= 0) continue;
                    attention_forward_tile<T>(
                        serial, scratch,
                        out.rows_at(begin, length).columns(kv_head * group * shape.head_dim, group * shape.head_dim),
                        lse.rows_at(begin, length).columns(kv_head * group, group),
                        {qkv, begin, length, kv_head, shape}, queries, shape);
                }
            }
        }
    }
}

}  // namespace cpu
