// What a block's passes read and write beside its weights: the residual stream, what forward keeps for backward,
// scratch, and the keys and values of a text that is being generated.
#pragma once

#include <span>

#include "llmc/core/tensor.h"
#include "quaff/model/linear_workspace.h"
#include "quaff/model/sublayer.h"

namespace quaff {

// The four joint linears of a block, in the order they run, which is that of joint_linears().
enum Layer { kQkv, kAttentionOutput, kGateUp, kDown, kLayersPerBlock };

// The residual stream between two blocks: x + delta. The sum is left to the norm that reads it.
template <class Device>
struct Stream {
    using T = typename Device::compute_t;
    Matrix<const T> x;      // [N,C]
    Matrix<const T> delta;  // [N,C]; null: nothing is to be added

    Stream rows_at(int64_t begin, int64_t count) const {
        return {x.rows_at(begin, count), delta.data ? delta.rows_at(begin, count) : delta};
    }
};

// What backward reads. N tokens; H heads and K key/value heads of D channels.
template <class Device>
struct BlockActivations {
    using T = typename Device::compute_t;
    SublayerActivations<Device> around_attention;  // its residual, r1, is all that recomputing the block needs
    SublayerActivations<Device> around_mlp;
    Matrix<T> qkv;                 // after norms and rope [N,(H+2K)D]
    Matrix<T> unnormed_qk;         // q and k before their norms [N,(H+K)D], where they are normed
    Matrix<float> rstd_qk;         // [N,H+K], or [N,2] where all heads are normed as one
    Matrix<T> attention;           // a [N,HD]
    Matrix<float> lse;             // log-sum-exp of the scores [N,H]
    Matrix<T> gate_up;             // [N,2F]
    Matrix<T> z[kLayersPerBlock];  // dropout(x) A^T of each linear [N,R]

    // The same buffers, as long as a shorter micro-batch.
    BlockActivations first_rows(int64_t n) const {
        BlockActivations part = *this;
        for (SublayerActivations<Device>* around : {&part.around_attention, &part.around_mlp})
            *around = around->first_rows(n);
        for (Matrix<T>* matrix : {&part.qkv, &part.unnormed_qk, &part.attention, &part.gate_up})
            *matrix = matrix->first_rows(n);
        for (Matrix<float>* matrix : {&part.rstd_qk, &part.lse}) *matrix = matrix->first_rows(n);
        for (Matrix<T>& of_linear : part.z) of_linear = of_linear.first_rows(n);
        return part;
    }
};

// Scratch that lives inside one block's pass.
template <class Device>
struct BlockWorkspace {
    using T = typename Device::compute_t;
    Matrix<T> normed;            // h1, then h2: input of qkv_proj and gate_up_proj [N,C], where norms make it
    Matrix<T> branch;            // output of o_proj; then delta' [N,C]
    Matrix<T> activated;         // gate(g) up [N,F]
    Matrix<T> dbranch;           // [N,C], where it is not the stream's gradient
    Matrix<T> dnormed;           // [N,C]
    Matrix<T> dattention;        // [N,HD]
    Matrix<T> dqkv;              // [N,(H+2K)D]
    Matrix<T> dactivated;        // [N,F]
    std::span<float> attention;  // of the attention operator
    LinearWorkspace<Device> linear;
};

// Keys and values of the tokens seen so far, for generation. One per block.
template <class Device>
struct KeyValueCache {
    using T = typename Device::compute_t;
    Matrix<T> keys, values;  // [max_length, K D]
    int64_t length = 0;
};

}  // namespace quaff
