// Attention forward, from the plain version to the one the program runs, each held against the CPU operator.
//
//   kernel 1   the definition: a block has one query of one head and keeps its row of scores in shared memory. Reads
//              every key once for every query, and takes sequences of up to some 12,000 tokens (48 KiB of scores)
//   kernel 2   llmc/cuda/attention.cuh: tiles of queries against tiles of keys, online softmax, tensor cores
//
//   make benchmarks && build/dev/cuda/attention [tokens]
//
// Validation first; then times of sequences of Phi-3-mini's shape, 2,048 tokens each. TFLOP/s count the products under
// the causal mask: 2 of query x key x head_dim forward, 5 backward. Kernel 1 is timed on the first sequence only.
#include <cmath>
#include <cstdio>
#include <random>
#include <span>
#include <vector>

#include "dev/cuda/benchmark.cuh"
#include "llmc/cpu/attention.h"
#include "llmc/cuda/attention.cuh"

namespace {

using namespace llmc;
using benchmark::download, benchmark::Tensor, benchmark::upload;

constexpr int kThreads = 128;

// S[i,j] = scale q[i] . k[j];  lse[i] = log sum_j exp S[i,j];  out[i] = sum_j exp(S[i,j] - lse[i]) v[j]
// Grid: x queries, y heads, z sequences. Shared memory: a float for each key.
template <class T>
__global__ void attention_forward_kernel1(Matrix<T> out, Matrix<float> lse, Matrix<const T> qkv,
                                          const int32_t* cu_seqlens, AttentionShape shape) {
    const cuda::PackedSequence sequence(cu_seqlens, blockIdx.z);
    const int query = blockIdx.x, head = blockIdx.y;
    if (query >= sequence.length) return;
    const cuda::AttentionBand band{shape.window, sequence.length};
    const cuda::AttentionHead<const T> in(qkv, sequence, shape, head);
    const Matrix<T> out_rows = sequence.head_of(out, shape, head);
    float* scores = cuda::shared_memory<float>();

    const int first = band.first_key(query);
    float largest = -INFINITY;
    for (int key = first + threadIdx.x; key <= query; key += kThreads) {
        float dot = 0;
        for (int d = 0; d < shape.head_dim; d++) dot += cuda::to_float(in.q(query, d)) * cuda::to_float(in.k(key, d));
        scores[key - first] = shape.scale * dot;
        largest = fmaxf(largest, shape.scale * dot);
    }
    largest = cuda::block_max(largest);
    float sum = 0;
    for (int key = first + threadIdx.x; key <= query; key += kThreads) sum += expf(scores[key - first] - largest);
    const float row_lse = largest + logf(cuda::block_sum(sum));
    __syncthreads();  // all scores are there
    for (int d = threadIdx.x; d < shape.head_dim; d += kThreads) {
        float value = 0;
        for (int key = first; key <= query; key++)
            value += expf(scores[key - first] - row_lse) * cuda::to_float(in.v(key, d));
        out_rows(query, d) = cuda::from_float<T>(value);
    }
    if (threadIdx.x == 0) lse(sequence.begin + query, head) = row_lse;
}

// max |seen - expected|, where seen may be NaN
template <class T>
double largest_error(const std::vector<T>& seen, const std::vector<float>& expected) {
    double largest = 0;
    for (size_t i = 0; i < seen.size(); i++) {
        const double error = std::abs(static_cast<double>(static_cast<float>(seen[i])) - expected[i]);
        if (!(error <= largest)) largest = error;
    }
    return largest;
}

// Whether both kernels compute what the CPU operator does.
template <class T>
bool validate(const char* type, const AttentionShape& shape, double bound) {
    const std::vector<int32_t> cu_seqlens{0, 1, 180, 440};
    const int64_t n = cu_seqlens.back(), longest = 260, out_cols = shape.n_heads * shape.head_dim;
    std::mt19937 generator(1);
    std::normal_distribution<float> normal;
    std::vector<T> qkv;
    std::vector<float> wide;
    for (int64_t i = 0; i < n * shape.qkv_width(); i++) {
        qkv.push_back(static_cast<T>(normal(generator)));
        wide.push_back(static_cast<float>(qkv.back()));
    }
    std::vector<float> out(n * out_cols), lse(n * shape.n_heads);
    const cpu::Device host;
    std::vector<float> workspace(cpu::attention_workspace(host, shape, longest));
    cpu::attention_forward<float>(host, {out.data(), n, out_cols}, {lse.data(), n, shape.n_heads},
                                  {wide.data(), n, shape.qkv_width()}, cu_seqlens, longest, shape, workspace);

    const cuda::Device<T> device;
    const auto device_qkv = upload(qkv);
    const auto device_cu_seqlens = upload(cu_seqlens);
    const std::span<const int32_t> sequences(device_cu_seqlens.get(), cu_seqlens.size());
    const Matrix<const T> qkv_matrix(device_qkv.get(), n, shape.qkv_width());
    bool valid = true;
    for (int version = 1; version <= 2; version++) {
        const auto device_out = upload(std::vector<T>(out.size(), static_cast<T>(NAN)));
        const auto device_lse = upload(std::vector<float>(lse.size(), NAN));
        const Matrix<T> out_matrix(device_out.get(), n, out_cols);
        const Matrix<float> lse_matrix(device_lse.get(), n, shape.n_heads);
        if (version == 1)
            cuda::launch(device, "attention_forward_kernel1", attention_forward_kernel1<T>,
                         cuda::attention_grid(longest, 1, shape.n_heads, sequences), kThreads, longest * sizeof(float),
                         out_matrix, lse_matrix, qkv_matrix, sequences.data(), shape);
        else
            cuda::attention_forward<T>(device, out_matrix, lse_matrix, qkv_matrix, sequences, longest, shape, {});
        const double out_error = largest_error(download(device_out, out.size()), out);
        const double lse_error = largest_error(download(device_lse, lse.size()), lse);
        const bool agrees = out_error < bound && lse_error < 1e-5;
        std::printf("kernel %d, %s, head_dim %d: out within %.1e, lse within %.1e of the CPU: %s\n", version, type,
                    shape.head_dim, out_error, lse_error, agrees ? "ok" : "WRONG");
        valid = valid && agrees;
    }
    return valid;
}

template <class T>
void measure(int64_t tokens) {
    const cuda::Device<T> device;
    benchmark::Clock clock(device.l2_bytes);
    const AttentionShape shape{32, 32, 96, 0, 1 / std::sqrt(96.0f)};
    const int64_t longest = std::min<int64_t>(tokens, 2048), sequences = tokens / longest, n = sequences * longest;
    const int64_t out_cols = shape.n_heads * shape.head_dim;
    std::vector<int32_t> bounds;
    for (int64_t begin = 0; begin <= n; begin += longest) bounds.push_back(static_cast<int32_t>(begin));
    const auto device_bounds = upload(bounds);
    const std::span<const int32_t> all(device_bounds.get(), bounds.size());

    const Tensor<T> qkv(n, shape.qkv_width()), out(n, out_cols), dout(n, out_cols), dqkv(n, shape.qkv_width());
    const Tensor<float> lse(n, shape.n_heads), scratch(1, cuda::attention_workspace(device, shape, n));
    const std::span<float> workspace(scratch.data(), static_cast<size_t>(scratch.view().cols));
    std::printf("%s, %lld sequences of %lld tokens, 32 heads of 96, %s\n", device.describe().c_str(),
                static_cast<long long>(sequences), static_cast<long long>(longest), device.compute_name);
    std::printf("%-22s %12s %10s\n", "kernel", "milliseconds", "TFLOP/s");
    const auto tell = [&](const char* name, int products, int64_t of_sequences, const auto& call) {
        const double seconds = clock.seconds(call);
        const double pairs = 0.5 * static_cast<double>(longest) * static_cast<double>(longest + 1);
        const double flops = 2.0 * products * pairs * static_cast<double>(out_cols * of_sequences);
        std::printf("%-22s %12.3f %10.1f\n", name, 1e3 * seconds, 1e-12 * flops / seconds);
    };
    tell("forward, kernel 1", 2, 1, [&] {
        cuda::launch(device, "attention_forward_kernel1", attention_forward_kernel1<T>,
                     cuda::attention_grid(longest, 1, shape.n_heads, all.first(2)), kThreads, longest * sizeof(float),
                     out.view().first_rows(longest), lse.view().first_rows(longest),
                     Matrix<const T>(qkv.view().first_rows(longest)), all.data(), shape);
    });
    tell("forward, kernel 2", 2, sequences, [&] {
        cuda::attention_forward<T>(device, out.view(), lse.view(), qkv.view(), all, longest, shape, workspace);
    });
    tell("backward", 5, sequences, [&] {
        cuda::attention_backward<T>(device, dqkv.view(), dout.view(), out.view(), lse.view(), qkv.view(), all, longest,
                                    shape, workspace);
    });
}

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run(argc, argv, [&](int64_t tokens) {
        const auto shape = [](int head_dim, int window) {
            return AttentionShape{8, 2, head_dim, window, 1 / std::sqrt(static_cast<float>(head_dim))};
        };
        // Values are below 5: P and out are rounded to fp16, 2^-11 of 5 each.
        bool valid = validate<float>("fp32", shape(64, 0), 1e-5);
        valid = validate<cuda::fp16>("fp16", shape(64, 0), 5e-3) && valid;
        valid = validate<cuda::fp16>("fp16", shape(128, 100), 5e-3) && valid;
        benchmark::in_16_bits([&]<class T>() { measure<T>(tokens); });
        return valid ? 0 : 1;
    });
}
