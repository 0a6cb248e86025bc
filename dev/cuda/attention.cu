// Causal attention of packed sequences, forward and backward, from the definition to the kernels the program runs.
//
//   S[i,j]   = scale q[i] . k[j]                     token i sees j in (i - window, i]; window = 0: all j <= i
//              cap tanh(scale q[i] . k[j] / cap)     with a soft cap; cap = 0: none
//   lse[i]   = log sum_j exp S[i,j]
//   P[i,j]   = exp(S[i,j] - lse[i])
//   out[i]   = sum_j P[i,j] v[j]
//
// backward, with delta[i] = dout[i] . out[i]:
//   dP[i,j]  = dout[i] . v[j]                        dS = P (dP - delta), with a soft cap times 1 - (S / cap)^2
//   dq[i]    = scale sum_j dS[i,j] k[j]
//   dk[j]    = scale sum_i dS[i,j] q[i]              dv[j] = sum_i P[i,j] dout[i]        over all heads that share j
//
// qkv [N, (heads + 2 kv_heads) head_dim]; out [N, heads head_dim]; lse [N, heads]. Outputs are written (=). The lengths
// of the sequences go from the shape's first to its last in equal steps.
//
//   forward    kernel 1   a block has one query of one head and keeps its row of scores in shared memory: reads every
//                         key once for every query, and takes up to some 12,000 tokens (48 KiB of scores)
//              kernel 2   llmc/cuda/attention/attention.cuh: tiles of queries against tiles of keys, online softmax, on
//                         tensor cores; a warp has 32 queries, so that k and v leave shared memory once for two
//                         products
//   backward   kernel 1   a block has one query and writes dq; a block of another kernel has one key and writes dk and
//                         dv. Computes S, dP and delta anew for every pair, twice
//              kernel 2   llmc/cuda/attention/attention.cuh: the same two, by tiles on tensor cores. A pair of warps
//              has
//                         32 keys, one warp P and dv, the other dS and dk. Blocks of 256 threads, which the program
//                         uses, own 128 keys; blocks of 128 own 64, of which a GPU with 228 KiB of shared memory holds
//                         two
//
// Operations are those under the mask: 2 products of pairs x head_dim forward, 5 backward.
#include <cmath>

#include "dev/cuda/common.cuh"
#include "llmc/cpu/attention/attention.h"
#include "llmc/cuda/attention/attention.cuh"

namespace {

using namespace benchmark;
using cuda::from_float, cuda::to_float;

__device__ float score_of(float dot, const AttentionShape& shape) {
    const float score = shape.scale * dot;
    return shape.soft_cap > 0 ? cuda::SoftCap(shape.soft_cap)(score) : score;
}

template <class T>
__device__ float dot(const Matrix<const T>& a, int i, const Matrix<const T>& b, int j) {
    float sum = 0;
    for (int d = 0; d < a.cols; d++) sum += to_float(a(i, d)) * to_float(b(j, d));
    return sum;
}

// Grid: x heads, y queries, z sequences. Shared memory: a float for each key.
template <class T>
__global__ void attention_forward_kernel1(Matrix<T> out, Matrix<float> lse, Matrix<const T> qkv,
                                          const int32_t* cu_seqlens, AttentionShape shape) {
    const cuda::PackedSequence sequence(cu_seqlens, blockIdx.z);
    const int query = blockIdx.y, head = blockIdx.x;
    if (query >= sequence.length) return;
    const cuda::AttentionHead<const T> in(qkv, sequence, shape, head);
    const Matrix<T> out_rows = sequence.head_of(out, shape, head);
    float* scores = cuda::shared_memory<float>();

    const int first = cuda::AttentionBand{shape.window, sequence.length}.first_key(query);
    float largest = -INFINITY;
    for (int key = first + threadIdx.x; key <= query; key += static_cast<int>(blockDim.x)) {
        scores[key - first] = score_of(dot(in.q, query, in.k, key), shape);
        largest = fmaxf(largest, scores[key - first]);
    }
    largest = cuda::block_max(largest);
    float sum = 0;
    for (int key = first + threadIdx.x; key <= query; key += static_cast<int>(blockDim.x))
        sum += expf(scores[key - first] - largest);
    const float row_lse = largest + logf(cuda::block_sum(sum));
    __syncthreads();  // all scores are there
    for (int d = threadIdx.x; d < shape.head_dim; d += static_cast<int>(blockDim.x)) {
        float value = 0;
        for (int key = first; key <= query; key++)
            value += expf(scores[key - first] - row_lse) * to_float(in.v(key, d));
        out_rows(query, d) = from_float<T>(value);
    }
    if (threadIdx.x == 0) lse(sequence.begin + query, head) = row_lse;
}

// One head's gradient at a pair of a query and a key.
template <class T>
struct PairGradient {
    float p, ds;

    __device__ PairGradient(const cuda::AttentionHead<const T>& in, const Matrix<const T>& dout,
                            const Matrix<const T>& out, float lse, const AttentionShape& shape, int query, int key) {
        const float score = score_of(dot(in.q, query, in.k, key), shape);
        p = expf(score - lse);
        ds = p * (dot(dout, query, in.v, key) - dot(dout, query, out, query));
        if (shape.soft_cap > 0) ds *= cuda::SoftCap(shape.soft_cap).slope(score);
    }
};

// Grid: x heads, y queries, z sequences. Shared memory: a float for each key.
template <class T>
__global__ void attention_backward_dq_kernel1(Matrix<T> dqkv, Matrix<const T> dout, Matrix<const T> out,
                                              Matrix<const float> lse, Matrix<const T> qkv, const int32_t* cu_seqlens,
                                              AttentionShape shape) {
    const cuda::PackedSequence sequence(cu_seqlens, blockIdx.z);
    const int query = blockIdx.y, head = blockIdx.x;
    if (query >= sequence.length) return;
    const cuda::AttentionHead<const T> in(qkv, sequence, shape, head);
    const Matrix<const T> head_dout = sequence.head_of(dout, shape, head),
                          head_out = sequence.head_of(out, shape, head);
    const Matrix<T> dq = sequence.head_of(dqkv, shape, head);
    float* ds = cuda::shared_memory<float>();

    const int first = cuda::AttentionBand{shape.window, sequence.length}.first_key(query);
    for (int key = first + threadIdx.x; key <= query; key += static_cast<int>(blockDim.x)) {
        const PairGradient<T> pair(in, head_dout, head_out, lse(sequence.begin + query, head), shape, query, key);
        ds[key - first] = pair.ds;
    }
    __syncthreads();  // all of dS is there
    for (int d = threadIdx.x; d < shape.head_dim; d += static_cast<int>(blockDim.x)) {
        float value = 0;
        for (int key = first; key <= query; key++) value += ds[key - first] * to_float(in.k(key, d));
        dq(query, d) = from_float<T>(shape.scale * value);
    }
}

// Grid: x key heads, y keys, z sequences. Shared memory: two floats for each query.
template <class T>
__global__ void attention_backward_dkv_kernel1(Matrix<T> dqkv, Matrix<const T> dout, Matrix<const T> out,
                                               Matrix<const float> lse, Matrix<const T> qkv, const int32_t* cu_seqlens,
                                               AttentionShape shape) {
    const cuda::PackedSequence sequence(cu_seqlens, blockIdx.z);
    const int key = blockIdx.y, first_head = blockIdx.x * shape.group();
    if (key >= sequence.length) return;
    const cuda::AttentionHead<T> gradient(dqkv, sequence, shape, first_head);
    float* p = cuda::shared_memory<float>();
    float* ds = p + sequence.length;

    const int end = cuda::AttentionBand{shape.window, sequence.length}.end_query(key, 1);
    constexpr int kMostChannels = 8;  // of a thread: 256 channels by 32 threads
    float dk[kMostChannels] = {}, dv[kMostChannels] = {};
    for (int head = first_head; head < first_head + shape.group(); head++) {
        const cuda::AttentionHead<const T> in(qkv, sequence, shape, head);
        const Matrix<const T> head_dout = sequence.head_of(dout, shape, head);
        const Matrix<const T> head_out = sequence.head_of(out, shape, head);
        for (int query = key + threadIdx.x; query < end; query += static_cast<int>(blockDim.x)) {
            const PairGradient<T> pair(in, head_dout, head_out, lse(sequence.begin + query, head), shape, query, key);
            p[query] = pair.p;
            ds[query] = pair.ds;
        }
        __syncthreads();  // all of P and dS is there
        for (int k = 0, d = threadIdx.x; d < shape.head_dim; k++, d += static_cast<int>(blockDim.x)) {
            for (int query = key; query < end; query++) {
                dk[k] += ds[query] * to_float(in.q(query, d));
                dv[k] += p[query] * to_float(head_dout(query, d));
            }
        }
        __syncthreads();  // this head's are read
    }
    for (int k = 0, d = threadIdx.x; d < shape.head_dim; k++, d += static_cast<int>(blockDim.x)) {
        gradient.k(key, d) = from_float<T>(shape.scale * dk[k]);
        gradient.v(key, d) = from_float<T>(dv[k]);
    }
}

// A shape's sequences and scores.
struct Problem {
    explicit Problem(const Shape& shape)
        : attention{static_cast<int>(shape[3]),
                    static_cast<int>(shape[4]),
                    static_cast<int>(shape[5]),
                    static_cast<int>(shape[6]),
                    1 / std::sqrt(static_cast<float>(shape[5])),
                    static_cast<float>(shape[7])},
          longest(std::max(shape[1], shape[2])) {
        for (int64_t k = 0, steps = std::max<int64_t>(shape[0] - 1, 1); k < shape[0]; k++) {
            const int64_t length = shape[1] + (shape[2] - shape[1]) * k / steps;
            bounds.push_back(bounds.back() + static_cast<int32_t>(length));
            for (int64_t i = 1; i <= length; i++) pairs += static_cast<double>(std::min(i, shape[6]));
        }
    }
    int64_t tokens() const { return bounds.back(); }
    int64_t out_width() const { return int64_t{attention.n_heads} * attention.head_dim; }
    // Of that many products of head_dim with every pair.
    Work products(int count) const { return float_operations(2.0 * count * pairs * static_cast<double>(out_width())); }

    AttentionShape attention;
    int64_t longest;
    std::vector<int32_t> bounds{0};  // cu_seqlens
    double pairs = 0;                // of a query and a key that it sees
};

template <class T>
void forward(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const Problem problem(shape);
    const AttentionShape& attention = problem.attention;
    const int64_t n = problem.tokens(), width = problem.out_width(), longest = problem.longest;
    const Tensor<int32_t> bounds(problem.bounds);
    const Tensor<T> qkv(n, attention.qkv_width(), 1, 2), out(n, width);
    const Tensor<float> lse(n, attention.n_heads);
    HostMatrix<float> expected_out(n, width), expected_lse(n, attention.n_heads);

    bench.run({
        .name = "attention_forward",
        .shape = shape,
        .work = problem.products(2),
        .reference =
            [&] {
                const cpu::Device host;
                std::vector<float> workspace(cpu::attention_workspace(host, attention, n));
                cpu::attention_forward<float>(host, expected_out, expected_lse, qkv.template host<float>(),
                                              problem.bounds, longest, attention, workspace);
            },
        // |v| < 2: P and out are rounded to T, a roundoff of 2 each. Sums of some hundred fp32 terms add 1e-5.
        .outputs = {written("out", out, expected_out, {0, 4 * unit_roundoff<T>() + 1e-5}),
                    written("lse", lse, expected_lse, {0, 1e-5})},
        .versions = {{1,
                      "a block a query, all scores kept",
                      {128, 32, 64, 256},
                      [&](int block) {
                          cuda::launch(device, "attention_forward_kernel1", attention_forward_kernel1<T>,
                                       cuda::attention_grid(longest, 1, attention.n_heads, bounds.span()), block,
                                       longest * sizeof(float), out, lse, qkv, bounds.data(), attention);
                      }},
                     {2,
                      "llmc: tiles, online softmax",
                      {},
                      [&](int) {
                          cuda::attention_forward<T>(device, out, lse, qkv, bounds.span(), longest, attention, {});
                      }}},
    });
}

template <class T>
void backward(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const Problem problem(shape);
    const AttentionShape& attention = problem.attention;
    const int64_t n = problem.tokens(), width = problem.out_width(), longest = problem.longest;
    const Tensor<int32_t> bounds(problem.bounds);
    const Tensor<T> qkv(n, attention.qkv_width(), 1, 2), out(n, width), dout(n, width, 2), dqkv(n, qkv.cols());
    const Tensor<float> lse(n, attention.n_heads);
    const Tensor<float> workspace(1, cuda::attention_workspace(device, attention, n));
    cuda::attention_forward<T>(device, out, lse, qkv, bounds.span(), longest, attention, {});
    HostMatrix<float> expected(n, qkv.cols());

    // The first tokens of a sequence gather the gradients of all that follow: sums of up to 4 in size here, over P, dS
    // and results rounded to T, each by a roundoff of that.
    const double largest = 4;
    bench.run({
        .name = "attention_backward",
        .shape = shape,
        .work = problem.products(5),
        .reference =
            [&] {
                const cpu::Device host;
                std::vector<float> host_workspace(cpu::attention_workspace(host, attention, n));
                cpu::attention_backward<float>(host, expected, dout.template host<float>(), out.template host<float>(),
                                               lse.template host<float>(), qkv.template host<float>(), problem.bounds,
                                               longest, attention, host_workspace);
            },
        .outputs = {written("dqkv", dqkv, expected, {0, 3 * largest * unit_roundoff<T>() + 1e-5})},
        .versions = {{1,
                      "a block a query, a block a key",
                      {128, 32, 64, 256},
                      [&](int block) {
                          cuda::launch(device, "attention_backward_dq_kernel1", attention_backward_dq_kernel1<T>,
                                       cuda::attention_grid(longest, 1, attention.n_heads, bounds.span()), block,
                                       longest * sizeof(float), dqkv, dout, out, lse, qkv, bounds.data(), attention);
                          cuda::launch(device, "attention_backward_dkv_kernel1", attention_backward_dkv_kernel1<T>,
                                       cuda::attention_grid(longest, 1, attention.n_kv_heads, bounds.span()), block,
                                       2 * longest * sizeof(float), dqkv, dout, out, lse, qkv, bounds.data(),
                                       attention);
                      }},
                     {2,
                      "llmc: tiles of queries, tiles of keys",
                      {256, 128},
                      [&](int block) {
                          cuda::attention_backward<T>(device, dqkv, dout, out, lse, qkv, bounds.span(), longest,
                                                      attention, workspace.span(), {.threads = block});
                      }},
                     {3,
                      "the same, dk and dv in step",
                      {256, 128},
                      [&](int block) {
                          cuda::attention_backward<T>(device, dqkv, dout, out, lse, qkv, bounds.span(), longest,
                                                      attention, workspace.span(), {.threads = block, .stages = 2});
                      }}},
    });
}

const Program kProgram{
    .operators = "attention_forward, attention_backward",
    .dimensions = "sequences x first length x last length x heads x kv heads x head_dim x window x soft cap",
    .odd = {{3, 1, 150, 4, 2, 64, 150, 0},
            {2, 77, 130, 2, 1, 128, 40, 0},
            {1, 9, 9, 3, 3, 20, 9, 2},
            {2, 3, 90, 2, 1, 128, 40, 2}},
    .timed = {{4, 2048, 2048, 32, 32, 96, 2048, 0}, {4, 2048, 2048, 32, 8, 128, 2048, 0}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram, []<class T>(const Bench<T>& bench, const Shape& shape) {
        forward(bench, shape);
        backward(bench, shape);
    });
}
