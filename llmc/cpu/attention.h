// Causal softmax attention of packed sequences with grouped queries and an optional sliding window, in tiles: no T x T
// matrix exists, only keys inside the band are touched.
//
//   token i of a sequence sees j in (i - window, i]        window = 0: all j <= i
//   S[i,j]   = scale q[i] . k[j]
//   lse[i]   = log sum_j exp S[i,j]
//   P[i,j]   = exp(S[i,j] - lse[i])
//   out[i]   = sum_j P[i,j] v[j]
//
// backward, with delta[i] = dout[i] . out[i]:
//   dP[i,j]  = dout[i] . v[j]            dS = P (dP - delta)
//   dq[i]    = scale sum_j dS[i,j] k[j]
//   dk[j]    = scale sum_i dS[i,j] q[i]  dv[j] = sum_i P[i,j] dout[i]      summed over the heads of the group, too
//
// qkv[N, (H + 2 KV) D]: q heads, k heads, v heads of a token side by side. max_sequence_length: no sequence of
// cu_seqlens is longer. `out`, `lse`, `dqkv` are written (=).
//
// The H/KV query heads that share a key head are stacked as the rows of one tile: queries x group. Scores are kept
// transposed, keys x rows, so that a vector holds one key's scores for many rows and the softmax over the keys needs no
// sum across a vector; each product is one small GEMM. The softmax is computed online over key tiles: Milakov and
// Gimelshein 2018, arXiv 1805.02867; Dao 2023, FlashAttention-2, arXiv 2307.08691.
//
// Threads share out tasks that own what they write, so that results do not depend on which thread computes what. The
// forward has a task per (sequence, key head, query tile). The backward has one per (sequence, key head) or, where
// those are too few for the threads, one per query tile for dq and one per key tile for dk and dv, which computes S and
// dP twice.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

#include "llmc/core/integers.h"
#include "llmc/core/operator_options.h"
#include "llmc/cpu/device.h"
#include "llmc/cpu/gemm/gemm.h"
#include "llmc/cpu/simd_math.h"

namespace cpu {

// A half-open range of positions in a sequence.
struct Range {
    int64_t begin, end;
    int64_t size() const { return end - begin; }
};

struct AttentionTiling {
    static constexpr int64_t kRows = 128;  // of a tile: queries x heads of the group
    static constexpr int64_t kKeys = 128;

    int64_t queries;  // tokens of a query tile
    int64_t rows;     // queries * group

    explicit AttentionTiling(const AttentionShape& shape)
        : queries(std::max<int64_t>(kRows / shape.group(), 16)), rows(queries * shape.group()) {}

    Range query_tile(int64_t index, int64_t length) const {
        return {index * queries, std::min((index + 1) * queries, length)};
    }
    static Range key_tile(int64_t index, int64_t length) {
        return {index * kKeys, std::min((index + 1) * kKeys, length)};
    }
};

// One thread's buffers, cut from the workspace.
template <class T>
struct AttentionScratch {
    Matrix<T> q, p;                   // [rows, head_dim], [keys, rows]
    Matrix<T> acc;                    // [rows, head_dim]; forward: out; backward: dq
    Matrix<T> dout, ds;               // backward: [rows, head_dim], [keys, rows]
    T *row_max, *row_sum;             // forward: of the online softmax
    T *row_old_max, *row_correction;  // forward: of a key tile
    T *row_lse, *row_delta;           // backward: the first two buffers

    static int64_t elements(const AttentionShape& shape) {
        const int64_t rows = AttentionTiling(shape).rows;
        return rows * (3 * shape.head_dim + 2 * AttentionTiling::kKeys + 4);
    }

    AttentionScratch(std::span<T> workspace, int thread, const AttentionShape& shape) {
        const int64_t rows = AttentionTiling(shape).rows;
        T* next = workspace.data() + thread * elements(shape);
        const auto take = [&](int64_t taken_rows, int64_t cols) {
            const Matrix<T> taken(next, taken_rows, cols);
            next += taken.size();
            return taken;
        };
        q = take(rows, shape.head_dim);
        acc = take(rows, shape.head_dim);
        dout = take(rows, shape.head_dim);
        p = take(AttentionTiling::kKeys, rows);
        ds = take(AttentionTiling::kKeys, rows);
        row_max = row_lse = take(1, rows).data;
        row_sum = row_delta = take(1, rows).data;
        row_old_max = take(1, rows).data;
        row_correction = take(1, rows).data;
    }
};

// The columns of one key head and of its group of query heads in a sequence's rows of qkv (or dqkv).
template <class T>
struct AttentionHead {
    Matrix<T> q, k, v;  // [length, group * head_dim], [length, head_dim] twice

    AttentionHead(Matrix<T> qkv, int64_t begin, int64_t length, int64_t kv_head, const AttentionShape& shape) {
        const Matrix<T> rows = qkv.rows_at(begin, length);
        const int64_t d = shape.head_dim;
        q = rows.columns(kv_head * shape.group() * d, shape.group() * d);
        k = rows.columns((shape.n_heads + kv_head) * d, d);
        v = rows.columns((shape.n_heads + shape.n_kv_heads + kv_head) * d, d);
    }
};

inline int64_t attention_workspace(const Device& device, const AttentionShape& shape, int64_t /*n_tokens*/) {
    return device.threads * AttentionScratch<float>::elements(shape);
}

inline int64_t longest_sequence(std::span<const int32_t> cu_seqlens) {
    int64_t longest = 0;
    for (size_t s = 1; s < cu_seqlens.size(); s++)
        longest = std::max<int64_t>(longest, cu_seqlens[s] - cu_seqlens[s - 1]);
    return longest;
}

inline void require_attention_workspace(const Device& device, const AttentionShape& shape, int64_t elements) {
    require(shape.n_kv_heads > 0 && shape.n_heads % shape.n_kv_heads == 0, shape.n_heads, " query heads cannot share ",
            shape.n_kv_heads, " key heads evenly");
    const int64_t needed = attention_workspace(device, shape, 0);
    require(elements >= needed, "attention needs a workspace of ", needed, " elements and got ", elements);
}

// The first key a query sees.
inline int64_t first_visible(int64_t query, const AttentionShape& shape) {
    return shape.window > 0 ? std::max<int64_t>(query - shape.window + 1, 0) : 0;
}

// The rows of a query tile that see a key.
inline Range rows_that_see(int64_t key, const Range& queries, const AttentionShape& shape) {
    const int64_t begin = std::clamp(key, queries.begin, queries.end);
    const int64_t end = shape.window > 0 ? std::clamp(key + shape.window, begin, queries.end) : queries.end;
    return {(begin - queries.begin) * shape.group(), (end - queries.begin) * shape.group()};
}

// A key's scores with rows that do not see it must not reach the next product.
template <class T>
void clear_unseen(T* scores, const Range& seen, int64_t count) {
    std::fill(scores, scores + seen.begin, T{0});
    std::fill(scores + seen.end, scores + count, T{0});
}

// Rows of a [length, group * head_dim] view, stacked as [queries * group, head_dim].
template <class T>
Matrix<T> stack_group(Matrix<T> stacked, ConstMatrix<T> heads, const Range& queries) {
    for (int64_t i = 0; i < queries.size(); i++) {
        std::copy_n(heads.row(queries.begin + i), heads.cols, stacked.data + i * heads.cols);
    }
    return stacked.first_rows(queries.size() * (heads.cols / stacked.cols));
}

template <class T>
void scale_row(T* row, int64_t count, T factor) {
#pragma omp simd
    for (int64_t i = 0; i < count; i++) row[i] *= factor;
}

// The online softmax's step: from the scores of a key tile, p [keys, rows], to e^(score - maximum so far). row_max and
// row_sum move on; row_correction is what sums made with the old maxima are worth now.
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
        // A row that has seen no key yet has nothing to correct, and no difference of infinities to make it from.
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
            for (int64_t j = 0; j < p.rows; j++) {
                const Range seen = rows_that_see(key_tile.begin + j, query_tile, shape);
                const T *lse = scratch.row_lse, *delta = scratch.row_delta;
                T *p_key = p.row(j), *ds_key = ds.row(j);
                clear_unseen(p_key, seen, p.cols);
                clear_unseen(ds_key, seen, ds.cols);
#pragma omp simd
                for (int64_t row = seen.begin; row < seen.end; row++) {
                    p_key[row] = simd_exp(p_key[row] - lse[row]);
                    ds_key[row] = p_key[row] * (ds_key[row] - delta[row]);
                }
            }
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

// Whether the longest (sequence, key head) alone, its length squared in 5 products, outlasts everything shared out
// evenly tile by tile, in 7 products.
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

// Generation: one query, the last of the k_cache.rows cached positions, against all of them that it sees.
template <class T>
void attention_decode(const Device& device, Matrix<T> out, ConstMatrix<T> q, ConstMatrix<T> k_cache,
                      ConstMatrix<T> v_cache, const AttentionShape& shape) {
    const int64_t length = k_cache.rows;
    const int64_t head_dim = shape.head_dim;
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
