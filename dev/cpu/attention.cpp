// Causal softmax attention of packed sequences with grouped queries and a sliding window, forward and backward, and one
// token of generation.
//
//   S[i,j]   = scale q[i] . k[j]                    i - window < j <= i; window = 0: all j <= i
//              cap tanh(scale q[i] . k[j] / cap)    with a soft cap; cap = 0: none
//   lse[i]   = log sum_j exp S[i,j]
//   out[i]   = sum_j exp(S[i,j] - lse[i]) v[j]
//
// backward, with P[i,j] = exp(S[i,j] - lse[i]) and delta[i] = dout[i] . out[i]:
//   dS[i,j]  = P[i,j] (dout[i] . v[j] - delta[i])   with a soft cap times 1 - (S[i,j] / cap)^2
//   dq[i]    = scale sum_j dS[i,j] k[j]             dk[j] = scale sum_i dS[i,j] q[i]     dv[j] = sum_i P[i,j] dout[i]
//
//   kernel 1   the definition: one thread, in double
//   kernel 2   all threads, vectors along head_dim: each query goes through its keys once, the softmax computed online;
//              backward, each thread owns some of the key heads
//   kernel 3   llmc/cpu/attention/attention.h: tiles of queries against tiles of keys, each product a small GEMM
//
// The tokens are two sequences of a quarter and three quarters of them. Operations are those under the mask: 2 products
// of query x key x head_dim forward, 5 backward.
//
//   make -C dev/cpu && build/dev/cpu/attention [version] [--shape ...]
#include "llmc/cpu/attention/attention.h"

#include "dev/cpu/common.h"

namespace {

using namespace llmc;
using benchmark::Device, benchmark::Tensor;

template <class T>
T dot(const float* a, const float* b, int64_t count) {
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t d = 0; d < count; d++) sum += static_cast<T>(a[d]) * b[d];
    return sum;
}

template <class T>
T score(const float* q, const float* k, const AttentionShape& shape) {
    const T scaled = shape.scale * dot<T>(q, k, shape.head_dim), cap = shape.soft_cap;
    return cap > 0 ? cap * std::tanh(scaled / cap) : scaled;
}

template <class T>
T slope_of_cap(T score, const AttentionShape& shape) {
    const T cap = shape.soft_cap;
    return cap > 0 ? 1 - (score / cap) * (score / cap) : 1;
}

template <class T>
void add_scaled(T* y, const float* x, T factor, int64_t count) {
#pragma omp simd
    for (int64_t d = 0; d < count; d++) y[d] += factor * x[d];
}

// Where q, k and v of a head begin in a row of qkv.
int64_t q_column(const AttentionShape& shape, int64_t head) {
    return head * shape.head_dim;
}
int64_t k_column(const AttentionShape& shape, int64_t head) {
    return (shape.n_heads + head / shape.group()) * shape.head_dim;
}
int64_t v_column(const AttentionShape& shape, int64_t head) {
    return (shape.n_heads + shape.n_kv_heads + head / shape.group()) * shape.head_dim;
}

int64_t first_key(int64_t query, int64_t sequence_begin, const AttentionShape& shape) {
    return shape.window > 0 ? std::max(query - shape.window + 1, sequence_begin) : sequence_begin;
}

// visit(sequence's first token, token) of every token.
template <class Visit>
void each_token(std::span<const int32_t> cu_seqlens, const Visit& visit) {
    for (size_t s = 0; s + 1 < cu_seqlens.size(); s++)
        for (int64_t i = cu_seqlens[s]; i < cu_seqlens[s + 1]; i++) visit(static_cast<int64_t>(cu_seqlens[s]), i);
}

// ---- forward -------------------------------------------------------------------------------------------------------

void attention_forward_kernel1(const Device&, Matrix<float> out, Matrix<float> lse, Matrix<const float> qkv,
                               std::span<const int32_t> cu_seqlens, int64_t, const AttentionShape& shape,
                               std::span<float>) {
    const int64_t head_dim = shape.head_dim;
    each_token(cu_seqlens, [&](int64_t begin, int64_t i) {
        const int64_t first = first_key(i, begin, shape);
        for (int64_t h = 0; h < shape.n_heads; h++) {
            std::vector<double> scores;
            for (int64_t j = first; j <= i; j++)
                scores.push_back(
                    score<double>(qkv.row(i) + q_column(shape, h), qkv.row(j) + k_column(shape, h), shape));
            const double largest = *std::ranges::max_element(scores);
            double sum = 0;
            for (const double s : scores) sum += std::exp(s - largest);
            std::vector<double> value(static_cast<size_t>(head_dim));
            for (int64_t j = first; j <= i; j++)
                add_scaled(value.data(), qkv.row(j) + v_column(shape, h), std::exp(scores[j - first] - largest) / sum,
                           head_dim);
            std::ranges::copy(value, out.row(i) + h * head_dim);
            lse(i, h) = static_cast<float>(largest + std::log(sum));
        }
    });
}

void attention_forward_kernel2(const Device& device, Matrix<float> out, Matrix<float> lse, Matrix<const float> qkv,
                               std::span<const int32_t> cu_seqlens, int64_t, const AttentionShape& shape,
                               std::span<float>) {
    const int64_t head_dim = shape.head_dim;
#pragma omp parallel for num_threads(device.threads) schedule(dynamic)
    for (int64_t h = 0; h < shape.n_heads; h++) {
        each_token(cu_seqlens, [&](int64_t begin, int64_t i) {
            float* value = out.row(i) + h * head_dim;
            std::fill_n(value, head_dim, 0.0f);
            float largest = -INFINITY, sum = 0;
            for (int64_t j = first_key(i, begin, shape); j <= i; j++) {
                const float s = score<float>(qkv.row(i) + q_column(shape, h), qkv.row(j) + k_column(shape, h), shape);
                if (s > largest) {  // the sums so far are relative to the old maximum
                    const float correction = std::exp(largest - s);
                    largest = s;
                    sum *= correction;
                    cpu::scale_row(value, head_dim, correction);
                }
                const float p = std::exp(s - largest);
                sum += p;
                add_scaled(value, qkv.row(j) + v_column(shape, h), p, head_dim);
            }
            cpu::scale_row(value, head_dim, 1 / sum);
            lse(i, h) = largest + std::log(sum);
        });
    }
}

struct Forward {
    static constexpr const char* name = "attention_forward";
    using Kernel = decltype(&cpu::attention_forward<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", attention_forward_kernel1},
                {"online softmax by queries, vectors, threads", attention_forward_kernel2},
                {"llmc/cpu/attention/attention.h: tiles, small GEMMs, threads", cpu::attention_forward<float>}};
    }

    AttentionShape shape;
    std::vector<int32_t> cu_seqlens;
    Tensor<float> qkv, out, lse, workspace;

    explicit Forward(const benchmark::Shape& sizes)
        : shape{static_cast<int>(sizes[1]),
                static_cast<int>(sizes[2]),
                static_cast<int>(sizes[3]),
                static_cast<int>(sizes[4]),
                1 / std::sqrt(static_cast<float>(sizes[3])),
                static_cast<float>(sizes[5])},
          cu_seqlens{0, static_cast<int32_t>(sizes[0] / 4), static_cast<int32_t>(sizes[0])},
          qkv(benchmark::random<float>(sizes[0], shape.qkv_width(), 1)),
          out(benchmark::unwritten<float>(sizes[0], sizes[1] * sizes[3])),
          lse(benchmark::unwritten<float>(sizes[0], sizes[1])),
          workspace(1, cpu::attention_workspace(Device{}, shape, sizes[0])) {
        for (float& value : qkv.span()) value *= 3;  // some keys get much, most get little
    }

    // For the requested number of threads.
    std::span<float> workspace_of(const Device& device) {
        const int64_t needed = cpu::attention_workspace(device, shape, qkv.rows);
        if (workspace.cols < needed) workspace = Tensor<float>(1, needed);
        return workspace.span();
    }

    int64_t longest() const { return cpu::longest_sequence(cu_seqlens); }

    void call(Kernel kernel, const Device& device) {
        kernel(device, out, lse, qkv, cu_seqlens, longest(), shape, workspace_of(device));
    }
    // Sums of 100 products in float, and an exponential.
    std::vector<benchmark::Output> outputs() const {
        return {benchmark::output("out", out, 5e-6), benchmark::output("lse", lse, 2e-6)};
    }

    double operations(int products) const {
        double pairs = 0;
        each_token(cu_seqlens,
                   [&](int64_t begin, int64_t i) { pairs += static_cast<double>(i + 1 - first_key(i, begin, shape)); });
        return 2.0 * products * pairs * shape.n_heads * shape.head_dim;
    }
    benchmark::Work work() const { return {benchmark::Unit::float_operations, operations(2)}; }
};

// ---- backward ------------------------------------------------------------------------------------------------------

// The gradients of one key head and its query heads, sums of T.
template <class T>
void attention_backward_head(Matrix<float> dqkv, Matrix<const float> dout, Matrix<const float> out,
                             Matrix<const float> lse, Matrix<const float> qkv, std::span<const int32_t> cu_seqlens,
                             int64_t kv_head, const AttentionShape& shape) {
    const int64_t head_dim = shape.head_dim;
    std::vector<T> sums(static_cast<size_t>(3 * qkv.rows * head_dim));
    const Matrix<T> dq(sums.data(), qkv.rows, head_dim), dk(dq.row(qkv.rows), qkv.rows, head_dim),
        dv(dk.row(qkv.rows), qkv.rows, head_dim);
    const auto store = [&](const Matrix<T>& from, int64_t column) {
        for (int64_t i = 0; i < from.rows; i++) std::copy_n(from.row(i), head_dim, dqkv.row(i) + column);
    };
    for (int64_t h = kv_head * shape.group(); h < (kv_head + 1) * shape.group(); h++) {
        std::fill_n(dq.data, dq.size(), T{0});
        each_token(cu_seqlens, [&](int64_t begin, int64_t i) {
            const float* q = qkv.row(i) + q_column(shape, h);
            const float* dout_row = dout.row(i) + h * head_dim;
            const T delta = dot<T>(dout_row, out.row(i) + h * head_dim, head_dim);
            for (int64_t j = first_key(i, begin, shape); j <= i; j++) {
                const float* k = qkv.row(j) + k_column(shape, h);
                const T s = score<T>(q, k, shape);
                const T p = std::exp(s - lse(i, h));
                const T ds =
                    p * (dot<T>(dout_row, qkv.row(j) + v_column(shape, h), head_dim) - delta) * slope_of_cap(s, shape);
                add_scaled(dq.row(i), k, shape.scale * ds, head_dim);
                add_scaled(dk.row(j), q, shape.scale * ds, head_dim);
                add_scaled(dv.row(j), dout_row, p, head_dim);
            }
        });
        store(dq, q_column(shape, h));
    }
    store(dk, k_column(shape, kv_head * shape.group()));
    store(dv, v_column(shape, kv_head * shape.group()));
}

void attention_backward_kernel1(const Device&, Matrix<float> dqkv, Matrix<const float> dout, Matrix<const float> out,
                                Matrix<const float> lse, Matrix<const float> qkv, std::span<const int32_t> cu_seqlens,
                                int64_t, const AttentionShape& shape, std::span<float>) {
    for (int64_t kv_head = 0; kv_head < shape.n_kv_heads; kv_head++)
        attention_backward_head<double>(dqkv, dout, out, lse, qkv, cu_seqlens, kv_head, shape);
}

void attention_backward_kernel2(const Device& device, Matrix<float> dqkv, Matrix<const float> dout,
                                Matrix<const float> out, Matrix<const float> lse, Matrix<const float> qkv,
                                std::span<const int32_t> cu_seqlens, int64_t, const AttentionShape& shape,
                                std::span<float>) {
#pragma omp parallel for num_threads(device.threads) schedule(dynamic)
    for (int64_t kv_head = 0; kv_head < shape.n_kv_heads; kv_head++)
        attention_backward_head<float>(dqkv, dout, out, lse, qkv, cu_seqlens, kv_head, shape);
}

struct Backward {
    static constexpr const char* name = "attention_backward";
    using Kernel = decltype(&cpu::attention_backward<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", attention_backward_kernel1},
                {"by key heads, vectors, threads", attention_backward_kernel2},
                {"llmc/cpu/attention/attention.h: tiles, small GEMMs, threads", cpu::attention_backward<float>}};
    }

    Forward forward;
    Tensor<float> dout, dqkv;

    explicit Backward(const benchmark::Shape& sizes)
        : forward(sizes),
          dout(benchmark::random<float>(sizes[0], sizes[1] * sizes[3], 2)),
          dqkv(benchmark::unwritten<float>(sizes[0], forward.shape.qkv_width())) {
        forward.call(Forward::versions().back().kernel, Device{1});
    }

    void call(Kernel kernel, const Device& device) {
        kernel(device, dqkv, dout, forward.out, forward.lse, forward.qkv, forward.cu_seqlens, forward.longest(),
               forward.shape, forward.workspace_of(device));
    }
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("dqkv", dqkv, 5e-6)}; }
    benchmark::Work work() const { return {benchmark::Unit::float_operations, forward.operations(5)}; }
};

// ---- decode --------------------------------------------------------------------------------------------------------

void attention_decode_kernel1(const Device&, Matrix<float> out, Matrix<const float> q, Matrix<const float> k_cache,
                              Matrix<const float> v_cache, const AttentionShape& shape) {
    const int64_t length = k_cache.rows, head_dim = shape.head_dim, first = first_key(length - 1, 0, shape);
    for (int64_t h = 0; h < shape.n_heads; h++) {
        const int64_t column = h / shape.group() * head_dim;
        std::vector<double> scores, value(static_cast<size_t>(head_dim));
        for (int64_t j = first; j < length; j++)
            scores.push_back(score<double>(q.data + h * head_dim, k_cache.row(j) + column, shape));
        const double largest = *std::ranges::max_element(scores);
        double sum = 0;
        for (const double s : scores) sum += std::exp(s - largest);
        for (int64_t j = first; j < length; j++)
            add_scaled(value.data(), v_cache.row(j) + column, std::exp(scores[j - first] - largest) / sum, head_dim);
        std::ranges::copy(value, out.data + h * head_dim);
    }
}

struct Decode {
    static constexpr const char* name = "attention_decode";
    using Kernel = decltype(&cpu::attention_decode<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", attention_decode_kernel1},
                {"llmc/cpu/attention/attention.h: online softmax, vectors, threads", cpu::attention_decode<float>}};
    }

    AttentionShape shape;
    Tensor<float> q, k, v, out;

    explicit Decode(const benchmark::Shape& sizes)
        : shape(Forward(sizes).shape),
          q(benchmark::random<float>(1, sizes[1] * sizes[3], 1)),
          k(benchmark::random<float>(sizes[0], sizes[2] * sizes[3], 2)),
          v(benchmark::random<float>(sizes[0], sizes[2] * sizes[3], 3)),
          out(benchmark::unwritten<float>(1, sizes[1] * sizes[3])) {}

    void call(Kernel kernel, const Device& device) { kernel(device, out, q, k, v, shape); }
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("out", out, 5e-6)}; }
    benchmark::Work work() const {
        const double seen = static_cast<double>(k.rows - first_key(k.rows - 1, 0, shape)) / static_cast<double>(k.rows);
        return {benchmark::Unit::bytes, seen * (k.bytes() + v.bytes())};
    }
};

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run<Forward, Backward, Decode>(
        argc, argv,
        {.operators = "attention_forward, attention_backward, attention_decode",
         .dimensions = "tokens x heads x kv_heads x head_dim x window x soft cap",
         .odd = {{4, 1, 1, 1, 0, 0},
                 {7, 2, 1, 5, 3, 2},
                 {33, 4, 2, 24, 0, 0},
                 {300, 3, 1, 64, 100, 0},
                 {181, 2, 2, 96, 0, 0},
                 {290, 2, 1, 64, 100, 3}},
         .timed = {{1024, 9, 3, 64, 1024, 0}}});
}
