// The backward pass of attention (llmc/cpu/attention/attention.h).
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "llmc/core/integers.h"
#include "llmc/cpu/attention/tiles.h"
#include "llmc/cpu/gemm/gemm.h"
#include "llmc/cpu/simd_math.h"
#include "llmc/cpu/soft_cap.h"

namespace cpu {

// What one key head's part of the backward reads and writes.
template <class T>
struct AttentionBackwardHead {
    AttentionHead<const T> in;
    AttentionHead<T> grad;
    Matrix<const T> dout, out;  // [length, group * head_dim]
    Matrix<const T> lse;        // [length, group]

    AttentionBackwardHead(Matrix<T> dqkv, Matrix<const T> all_dout, Matrix<const T> all_out, Matrix<const T> all_lse,
                          Matrix<const T> qkv, int64_t begin, int64_t length, int64_t kv_head,
                          const AttentionShape& shape)
        : in(qkv, begin, length, kv_head, shape), grad(dqkv, begin, length, kv_head, shape) {
        const int64_t group = shape.group();
        const int64_t width = group * shape.head_dim;
        dout = all_dout.rows_at(begin, length).columns(kv_head * width, width);
        out = all_out.rows_at(begin, length).columns(kv_head * width, width);
        lse = all_lse.rows_at(begin, length).columns(kv_head * group, group);
    }
};

// Of a key tile: p [keys, rows], scale q.k, becomes P, and ds [keys, rows], dP, becomes dS.
template <bool kCapped, class T>
void score_gradient(const AttentionScratch<T>& scratch, Matrix<T> p, Matrix<T> ds, const Range& keys,
                    const Range& queries, const AttentionShape& shape) {
    const T *lse = scratch.row_lse, *delta = scratch.row_delta;
    const SoftCap<T> capped(shape.soft_cap);
    for (int64_t j = 0; j < p.rows; j++) {
        const Range seen = rows_that_see(keys.begin + j, queries, shape);
        T *p_key = p.row(j), *ds_key = ds.row(j);
        clear_unseen(p_key, seen, p.cols);
        clear_unseen(ds_key, seen, ds.cols);
#pragma omp simd
        for (int64_t row = seen.begin; row < seen.end; row++) {
            const T score = kCapped ? capped(p_key[row]) : p_key[row];
            p_key[row] = simd_exp(score - lse[row]);
            ds_key[row] = p_key[row] * (ds_key[row] - delta[row]);
            if constexpr (kCapped) ds_key[row] *= capped.slope(score);
        }
    }
}

// Gradients from every pair of a query in `queries` and a key in `keys`: dq of those queries and dk, dv of those keys,
// as asked for. Complete when the other range is the whole sequence.
template <class T>
void attention_backward_tiles(const Device& serial, const AttentionScratch<T>& scratch,
                              const AttentionBackwardHead<T>& head, const Range& queries, const Range& keys,
                              bool want_dq, bool want_dkv, const AttentionShape& shape) {
    const AttentionTiling tiling(shape);
    const int64_t group = shape.group();
    const T scale = static_cast<T>(shape.scale);
    if (want_dkv) {
        for (int64_t j = keys.begin; j < keys.end; j++) {
            std::fill_n(head.grad.k.row(j), shape.head_dim, T{0});
            std::fill_n(head.grad.v.row(j), shape.head_dim, T{0});
        }
    }
    for (int64_t begin = queries.begin; begin < queries.end; begin += tiling.queries) {
        const Range query_tile{begin, std::min(begin + tiling.queries, queries.end)};
        const Range band{std::max(keys.begin, first_visible(query_tile.begin, shape)),
                         std::min(keys.end, query_tile.end)};
        if (band.size() <= 0) continue;

        const Matrix<T> q = stack_group(scratch.q, head.in.q, query_tile);
        const Matrix<T> dout = stack_group(scratch.dout, head.dout, query_tile);
        const Matrix<T> dq = scratch.acc.first_rows(q.rows);
        for (int64_t row = 0; row < q.rows; row++) {
            const int64_t i = query_tile.begin + row / group;
            const T* out_row = head.out.row(i) + row % group * dq.cols;
            T delta = 0;
#pragma omp simd reduction(+ : delta)
            for (int64_t d = 0; d < dq.cols; d++) delta += dout(row, d) * out_row[d];
            scratch.row_delta[row] = delta;
            scratch.row_lse[row] = head.lse(i, row % group);
        }
        std::fill_n(dq.data, dq.size(), T{0});

        const int64_t first_tile = band.begin / AttentionTiling::kKeys;
        for (int64_t tile = first_tile; tile * AttentionTiling::kKeys < band.end; tile++) {
            const Range key_tile = AttentionTiling::key_tile(tile, band.end);
            const Matrix<const T> k = head.in.k.rows_at(key_tile.begin, key_tile.size());
            const Matrix<const T> v = head.in.v.rows_at(key_tile.begin, key_tile.size());
            const Matrix<T> p = scratch.p.first_rows(key_tile.size()).columns(0, q.rows);
            const Matrix<T> ds = scratch.ds.first_rows(key_tile.size()).columns(0, q.rows);
            gemm_nt(serial, p, k, q, scale, T{0});
            gemm_nt(serial, ds, v, dout, T{1}, T{0});
            if (shape.soft_cap > 0)
                score_gradient<true>(scratch, p, ds, key_tile, query_tile, shape);
            else
                score_gradient<false>(scratch, p, ds, key_tile, query_tile, shape);
            if (want_dq) gemm_tn(serial, dq, ds, k, scale, T{1});
            if (want_dkv) {
                gemm_nn(serial, head.grad.k.rows_at(key_tile.begin, key_tile.size()), ds, q, scale, T{1});
                gemm_nn(serial, head.grad.v.rows_at(key_tile.begin, key_tile.size()), p, dout, T{1}, T{1});
            }
        }
        if (want_dq) {
            for (int64_t i = 0; i < query_tile.size(); i++) {
                std::copy_n(dq.data + i * group * dq.cols, group * dq.cols, head.grad.q.row(query_tile.begin + i));
            }
        }
    }
}

// Whether the longest (sequence, key head) as one task, 5 products of its length squared, would take longer than
// everything shared out evenly tile by tile, in 7 products.
inline bool split_attention_backward(const Device& device, std::span<const int32_t> cu_seqlens, int n_kv_heads) {
    double total = 0;
    for (size_t s = 1; s < cu_seqlens.size(); s++) {
        const double length = cu_seqlens[s] - cu_seqlens[s - 1];
        total += n_kv_heads * length * length;
    }
    const double longest = static_cast<double>(longest_sequence(cu_seqlens));
    return 5 * longest * longest > 7 * total / device.threads;
}

template <class T>
void attention_backward(const Device& device, Matrix<T> dqkv, ConstMatrix<T> dout, ConstMatrix<T> out,
                        ConstMatrix<T> lse, ConstMatrix<T> qkv, std::span<const int32_t> cu_seqlens,
                        int64_t max_sequence_length, const AttentionShape& shape,
                        std::type_identity_t<std::span<T>> workspace) {
    require_attention_workspace(device, shape, static_cast<int64_t>(workspace.size()));
    const AttentionTiling tiling(shape);
    const bool split = split_attention_backward(device, cu_seqlens, shape.n_kv_heads);
    const int64_t sequences = static_cast<int64_t>(cu_seqlens.size()) - 1;
    const int64_t query_tiles = split ? ceil_div(max_sequence_length, tiling.queries) : 0;
    const int64_t key_tiles = split ? ceil_div(max_sequence_length, AttentionTiling::kKeys) : 0;
    // The tasks of a (sequence, key head), longest first: all of it, or each key tile from the first on, then each
    // query tile from the last on.
    const int64_t tasks = split ? key_tiles + query_tiles : 1;
    const Device serial = device.alone();
#pragma omp parallel num_threads(device.threads)
    {
        const AttentionScratch<T> scratch(workspace, omp_get_thread_num(), shape);
#pragma omp for collapse(3) schedule(dynamic)
        for (int64_t task = 0; task < tasks; task++) {
            for (int64_t s = 0; s < sequences; s++) {
                for (int64_t kv_head = 0; kv_head < shape.n_kv_heads; kv_head++) {
                    const int64_t begin = cu_seqlens[s];
                    const int64_t length = cu_seqlens[s + 1] - begin;
                    const AttentionBackwardHead<T> head(dqkv, dout, out, lse, qkv, begin, length, kv_head, shape);
                    const Range all{0, length};
                    if (!split) {
                        attention_backward_tiles(serial, scratch, head, all, all, true, true, shape);
                    } else if (task < key_tiles) {
                        attention_backward_tiles(serial, scratch, head, all, AttentionTiling::key_tile(task, length),
                                                 false, true, shape);
                    } else {
                        const Range queries = tiling.query_tile(tasks - 1 - task, length);
                        attention_backward_tiles(serial, scratch, head, queries, all, true, false, shape);
                    }
                }
            }
        }
    }
}

}  // namespace cpu
