// Softmax cross-entropy over the vocabulary, from a thread a row to the kernel that the program runs.
//
//   losses[n]  = log sum_v exp(logits[n,v]) - logits[n, labels[n]]
//   correct[n] = (argmax_v logits[n,v] == labels[n]), the lowest v where several are largest
//   dlogits    = (softmax(logits) - onehot(label)) grad_scale, in place of the logits
//
// With a soft cap (0: none) cross_entropy_forward_backward takes the logits x before it: logits above are
// y = cap tanh(x / cap), and dlogits (1 - (y / cap)^2) takes the place of x. Kernel 4 alone has caps.
//
// n: labelled positions; v: tokens of the vocabulary. All written (=). cross_entropy_forward leaves the logits.
//
//   kernel 1   a thread a row, three passes: the maximum, the sum of exponentials, the gradient
//   kernel 2   a block a row, the same three passes: neighbours read neighbours
//   kernel 3   two passes: maximum and sum together, a sum corrected whenever its thread's maximum grows
//   kernel 4   llmc/cuda/cross_entropy.cuh: 16 bytes a load, one correction for eight, the gradient from the row's end,
//              which L2 still holds
//
// Bytes: the logits read, and with the gradient read and written; what a version reads again is not counted. A
// version with the gradient works in place: from the second run on it is timed on what the first one left, which takes
// the same work.
#include "dev/cuda/common.cuh"
#include "llmc/cpu/cross_entropy.h"
#include "llmc/cuda/cross_entropy.cuh"

namespace {

using namespace benchmark;
using cuda::from_float, cuda::to_float, cuda::SoftmaxRow;

constexpr float kGradScale = 0.25f;

// earlier: whether a logit before the label equals it.
__device__ SoftmaxRow softmax_of(float largest, float total, float label_logit, bool earlier) {
    return {largest, total, logf(total) + (largest - label_logit), !earlier && label_logit == largest};
}

template <class T>
__device__ T gradient(T logit, const SoftmaxRow& softmax, bool labelled) {
    const float probability = expf(to_float(logit) - softmax.largest) / softmax.total;
    return from_float<T>((probability - (labelled ? 1.0f : 0.0f)) * kGradScale);
}

template <bool kBackward, class T>
__global__ void cross_entropy_kernel1(float* losses, uint8_t* correct, Matrix<T> logits, const int32_t* labels) {
    const int64_t n = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (n >= logits.rows) return;
    const int32_t label = labels[n];
    const float label_logit = to_float(logits(n, label));
    float largest = -INFINITY, total = 0;
    bool earlier = false;
    for (int64_t v = 0; v < logits.cols; v++) {
        const float logit = to_float(logits(n, v));
        largest = fmaxf(largest, logit);
        if (v < label && logit == label_logit) earlier = true;
    }
    for (int64_t v = 0; v < logits.cols; v++) total += expf(to_float(logits(n, v)) - largest);
    const SoftmaxRow softmax = softmax_of(largest, total, label_logit, earlier);
    losses[n] = softmax.loss;
    correct[n] = softmax.correct;
    if constexpr (kBackward)
        for (int64_t v = 0; v < logits.cols; v++) logits(n, v) = gradient(logits(n, v), softmax, v == label);
}

// The end of a block, once it knows its row's softmax.
template <bool kBackward, class T>
__device__ void finish_row(float* losses, uint8_t* correct, const Matrix<T>& logits, int64_t n, int32_t label,
                           const SoftmaxRow& softmax) {
    if (threadIdx.x == 0) {
        losses[n] = softmax.loss;
        correct[n] = softmax.correct;
    }
    if constexpr (kBackward)
        for (int64_t v = threadIdx.x; v < logits.cols; v += blockDim.x)
            logits(n, v) = gradient(logits(n, v), softmax, v == label);
}

template <bool kBackward, class T>
__global__ void cross_entropy_kernel2(float* losses, uint8_t* correct, Matrix<T> logits, const int32_t* labels) {
    const int64_t n = blockIdx.x;
    const int32_t label = labels[n];
    const float label_logit = to_float(logits(n, label));
    float largest = -INFINITY, total = 0;
    bool earlier = false;
    for (int64_t v = threadIdx.x; v < logits.cols; v += blockDim.x) {
        const float logit = to_float(logits(n, v));
        largest = fmaxf(largest, logit);
        if (v < label && logit == label_logit) earlier = true;
    }
    largest = cuda::block_max(largest);
    for (int64_t v = threadIdx.x; v < logits.cols; v += blockDim.x) total += expf(to_float(logits(n, v)) - largest);
    total = cuda::block_sum(total);
    finish_row<kBackward>(losses, correct, logits, n, label,
                          softmax_of(largest, total, label_logit, __syncthreads_or(earlier)));
}

template <bool kBackward, class T>
__global__ void cross_entropy_kernel3(float* losses, uint8_t* correct, Matrix<T> logits, const int32_t* labels) {
    const int64_t n = blockIdx.x;
    const int32_t label = labels[n];
    const float label_logit = to_float(logits(n, label));
    float largest = -FLT_MAX, total = 0;  // finite: a thread without a logit subtracts it from itself
    bool earlier = false;
    for (int64_t v = threadIdx.x; v < logits.cols; v += blockDim.x) {
        const float logit = to_float(logits(n, v));
        if (logit > largest) {
            total *= expf(largest - logit);
            largest = logit;
        }
        total += expf(logit - largest);
        if (v < label && logit == label_logit) earlier = true;
    }
    const float row_largest = cuda::block_max(largest);
    total = cuda::block_sum(total * expf(largest - row_largest));
    finish_row<kBackward>(losses, correct, logits, n, label,
                          softmax_of(row_largest, total, label_logit, __syncthreads_or(earlier)));
}

// A third of the labels is the row's largest logit, the others are any.
template <class T>
std::vector<int32_t> some_labels(const Tensor<T>& logits) {
    const std::vector<T> host = logits.download();
    const int64_t vocabulary = logits.cols();
    std::vector<int32_t> labels;
    for (int64_t n = 0; n < logits.rows(); n++) {
        const T* row = host.data() + n * vocabulary;
        int64_t label = (n * 7919 + 3) % vocabulary;
        if (n % 3 == 0) {
            label = 0;
            for (int64_t v = 1; v < vocabulary; v++)
                if (widened(row[v]) > widened(row[label])) label = v;
        }
        labels.push_back(static_cast<int32_t>(label));
    }
    return labels;
}

template <bool kBackward, class T>
void measure(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], vocabulary = shape[1];
    const float cap = static_cast<float>(shape[2]);
    if (cap > 0 && !kBackward) return;
    const Tensor<T> before(n, vocabulary, 1, 8), logits(n, vocabulary, 1, 8);
    const auto named = some_labels(before);
    const Tensor<int32_t> labels(named);
    const Tensor<float> losses(1, n);
    const Tensor<uint8_t> correct(1, n);
    HostMatrix<double> expected(0, 0), expected_losses(1, n);
    HostMatrix<uint8_t> expected_correct(1, n);
    // Up to some thousand fp32 exponentials are added one after the other.
    std::vector<Output> outputs{written("losses", losses, expected_losses, {1e-6, 1e-5}),
                                written("correct", correct, expected_correct, {})};
    // At the label, what is left of 1 keeps its rounding.
    if (kBackward) outputs.push_back(updated("dlogits", logits, before, expected, rounded_to<T>({1e-5, 1e-7})));

    bench.run({
        .name = kBackward ? "cross_entropy_forward_backward" : "cross_entropy_forward",
        .shape = shape,
        .work = moved((kBackward ? 2 : 1) * logits.bytes()),
        .reference =
            [&] {
                expected = before.template host<double>();
                if constexpr (kBackward)
                    cpu::cross_entropy_forward_backward<double>({}, expected_losses.data(), expected_correct.data(),
                                                                expected, named, kGradScale, cap);
                else
                    cpu::cross_entropy_forward<double>({}, expected_losses.data(), expected_correct.data(), expected,
                                                       named);
            },
        .outputs = outputs,
        .versions = {{1,
                      "a thread a row, three passes",
                      {32, 64, 128},
                      [&](int block) {
                          cuda::launch(device, "cross_entropy_kernel1", cross_entropy_kernel1<kBackward, T>,
                                       blocks(n, block), block, 0, losses.data(), correct.data(), logits,
                                       labels.data());
                      },
                      cap == 0},
                     {2,
                      "a block a row, three passes",
                      {1024, 32, 64, 128, 256, 512},
                      [&](int block) {
                          cuda::launch(device, "cross_entropy_kernel2", cross_entropy_kernel2<kBackward, T>,
                                       cuda::row_blocks(n), block, 0, losses.data(), correct.data(), logits,
                                       labels.data());
                      },
                      cap == 0},
                     {3,
                      "maximum and sum in one pass",
                      {1024, 32, 64, 128, 256, 512},
                      [&](int block) {
                          cuda::launch(device, "cross_entropy_kernel3", cross_entropy_kernel3<kBackward, T>,
                                       cuda::row_blocks(n), block, 0, losses.data(), correct.data(), logits,
                                       labels.data());
                      },
                      cap == 0},
                     {4,
                      "llmc: 16-byte loads, back from L2",
                      {},
                      [&](int) {
                          if constexpr (kBackward)
                              cuda::cross_entropy_forward_backward<T>(device, losses.data(), correct.data(), logits,
                                                                      labels.span(), kGradScale, cap);
                          else
                              cuda::cross_entropy_forward<T>(device, losses.data(), correct.data(), logits,
                                                             labels.span());
                      }}},
    });
}

const Program kProgram{
    .operators = "cross_entropy_forward, cross_entropy_forward_backward",
    .dimensions = "labelled positions x vocabulary x soft cap",
    .odd = {{5, 64, 0}, {3, 61, 0}, {4, 1000, 0}, {67, 1, 0}, {2, 8301, 0}, {3, 61, 5}, {2, 8301, 30}},
    .timed = {{512, 32064, 0}, {256, 128256, 0}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram, []<class T>(const Bench<T>& bench, const Shape& shape) {
        measure<false>(bench, shape);
        measure<true>(bench, shape);
    });
}
