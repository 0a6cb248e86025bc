// What the attention kernels share: where a block's sequence and head lie in the packed tensors, and which pairs of a
// query and a key are in the band j in (i - window, i].
#pragma once

#include <climits>
#include <cstdint>

#include "llmc/core/operator_options.h"
#include "llmc/cuda/device.cuh"

namespace cuda {

// Rows [begin, begin + length) of the packed tensors.
struct PackedSequence {
    int64_t begin;
    int length;

    __device__ PackedSequence(const int32_t* cu_seqlens, int index)
        : begin(cu_seqlens[index]), length(cu_seqlens[index + 1] - cu_seqlens[index]) {}

    template <class T>
    __device__ Matrix<T> rows_of(const Matrix<T>& packed) const {
        return packed.rows_at(begin, length);
    }
    // One head's columns of out or dout.
    template <class T>
    __device__ Matrix<T> head_of(const Matrix<T>& packed, const AttentionShape& shape, int head) const {
        return rows_of(packed).columns(head * shape.head_dim, shape.head_dim);
    }
};

// The columns of a query head, and of the key head it shares, in a sequence's rows of qkv or dqkv.
template <class T>
struct AttentionHead {
    Matrix<T> q, k, v;  // [length, head_dim]

    __device__ AttentionHead(const Matrix<T>& qkv, const PackedSequence& sequence, const AttentionShape& shape,
                             int head)
        : q(sequence.head_of(qkv, shape, head)),
          k(sequence.head_of(qkv, shape, shape.n_heads + head / shape.group())),
          v(sequence.head_of(qkv, shape, shape.n_heads + shape.n_kv_heads + head / shape.group())) {}
};

struct AttentionBand {
    int window;  // 0: without end
    int length;  // of the sequence

    __device__ bool visible(int query, int key) const { return key <= query && (window == 0 || key > query - window); }
    // A pair is visible if 0 <= query - key < diagonals().
    __device__ int diagonals() const { return window == 0 ? INT_MAX / 2 : window; }
    // Whether every query of a tile sees every key of another: no score needs a mask.
    __device__ bool covers(int first_query, int queries, int first_key, int keys) const {
        return first_key + keys - 1 <= first_query && visible(first_query + queries - 1, first_key);
    }
    // Whether some query of a tile sees some key of another.
    __device__ bool sees(int first_query, int queries, int first_key, int keys) const {
        return first_key < first_query + queries && (window == 0 || first_key + keys - 1 > first_query - window);
    }
    // The keys that some query of a tile sees are first_key .. end_key - 1. The queries that see some key of a tile are
    // first .. end_query - 1, since a query sees itself.
    __device__ int first_key(int first_query) const { return window == 0 ? 0 : max(first_query - window + 1, 0); }
    __device__ int end_key(int first_query, int queries) const { return min(first_query + queries, length); }
    __device__ int end_query(int first_key, int keys) const {
        return window == 0 || window > length ? length : min(first_key + keys - 1 + window, length);
    }
};

}  // namespace cuda
