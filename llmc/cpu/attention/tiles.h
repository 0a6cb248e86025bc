// What the passes of attention share: tiles of a head's rows, a thread's buffers, and which keys a query sees.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "llmc/core/operator_options.h"
#include "llmc/cpu/device.h"

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
    require_soft_cap(shape.soft_cap);
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

}  // namespace cpu
