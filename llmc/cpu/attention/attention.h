// Causal softmax attention of packed sequences with grouped queries and an optional sliding window, in tiles: no T x T
// matrix exists, only keys inside the band are touched.
//
//   token i of a sequence sees j in (i - window, i]        window = 0: all j <= i
//   S[i,j]   = scale q[i] . k[j]                     with soft_cap c > 0: S = c tanh(scale q[i] . k[j] / c)
//   lse[i]   = log sum_j exp S[i,j]
//   P[i,j]   = exp(S[i,j] - lse[i])
//   out[i]   = sum_j P[i,j] v[j]
//
// backward, with delta[i] = dout[i] . out[i]:
//   dP[i,j]  = dout[i] . v[j]            dS = P (dP - delta)         with soft_cap c: times 1 - (S / c)^2
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

#include "llmc/cpu/attention/backward.h"
#include "llmc/cpu/attention/decode.h"
#include "llmc/cpu/attention/forward.h"
