// Softmax cross-entropy over the vocabulary, one label a row.
//
//   losses[n]  = log sum_v exp(logits[n,v]) - logits[n, labels[n]]
//   correct[n] = (argmax_v logits[n,v] == labels[n])
//   dlogits    = (softmax(logits) - onehot(label)) grad_scale, in place of the logits
//
// With a soft cap (0: none) cross_entropy_forward_backward takes the logits x before it: logits above are
// y = cap tanh(x / cap), and dlogits (1 - (y / cap)^2) takes the place of x.
//
//   kernel 1   the definition: one thread, in double
//   kernel 2   all threads, and the C library's expf: a call per element, twice for the gradient
//   kernel 3   llmc/cpu/cross_entropy.h: an exponential that the compiler makes vectors of, once (twice, and a tanh of
//              vectors, with a cap)
//
//   make -C dev/cpu && build/dev/cpu/cross_entropy [version] [--shape ...]
#include "llmc/cpu/cross_entropy.h"

#include "dev/cpu/common.h"

namespace {

using namespace llmc;
using benchmark::Device, benchmark::Tensor;

constexpr float kGradScale = 0.01f;

// log sum_v exp(row[v])
template <class T, class Logit>
T log_sum_exp(const Logit* row, int64_t count) {
    const T largest = *std::max_element(row, row + count);
    T sum = 0;
    for (int64_t v = 0; v < count; v++) sum += std::exp(row[v] - largest);
    return largest + std::log(sum);
}

template <class T>
T capped(T x, T cap) {
    return cap > 0 ? cap * std::tanh(x / cap) : x;
}

template <class T>
T slope_of_cap(T y, T cap) {
    return cap > 0 ? 1 - (y / cap) * (y / cap) : 1;
}

bool label_is_largest(const float* row, int64_t count, int32_t label) {
    return std::max_element(row, row + count) - row == label;
}

void cross_entropy_forward_kernel1(const Device&, float* losses, uint8_t* correct, Matrix<const float> logits,
                                   std::span<const int32_t> labels) {
    for (int64_t n = 0; n < logits.rows; n++) {
        losses[n] = static_cast<float>(log_sum_exp<double>(logits.row(n), logits.cols) - logits(n, labels[n]));
        correct[n] = label_is_largest(logits.row(n), logits.cols, labels[n]);
    }
}

void cross_entropy_forward_kernel2(const Device& device, float* losses, uint8_t* correct, Matrix<const float> logits,
                                   std::span<const int32_t> labels) {
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < logits.rows; n++) {
        losses[n] = log_sum_exp<float>(logits.row(n), logits.cols) - logits(n, labels[n]);
        correct[n] = label_is_largest(logits.row(n), logits.cols, labels[n]);
    }
}

void cross_entropy_forward_backward_kernel1(const Device&, float* losses, uint8_t* correct, Matrix<float> logits,
                                            std::span<const int32_t> labels, float grad_scale, float soft_cap) {
    const double cap = soft_cap;
    for (int64_t n = 0; n < logits.rows; n++) {
        correct[n] = label_is_largest(logits.row(n), logits.cols, labels[n]);
        std::vector<double> y(logits.row(n), logits.row(n) + logits.cols);
        for (double& logit : y) logit = capped(logit, cap);
        const double lse = log_sum_exp<double>(y.data(), logits.cols);
        losses[n] = static_cast<float>(lse - y[labels[n]]);
        for (int64_t v = 0; v < logits.cols; v++)
            logits(n, v) =
                static_cast<float>((std::exp(y[v] - lse) - (v == labels[n])) * grad_scale * slope_of_cap(y[v], cap));
    }
}

void cross_entropy_forward_backward_kernel2(const Device& device, float* losses, uint8_t* correct, Matrix<float> logits,
                                            std::span<const int32_t> labels, float grad_scale, float soft_cap) {
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < logits.rows; n++) {
        correct[n] = label_is_largest(logits.row(n), logits.cols, labels[n]);
        if (soft_cap > 0)
            for (int64_t v = 0; v < logits.cols; v++) logits(n, v) = capped(logits(n, v), soft_cap);
        const float lse = log_sum_exp<float>(logits.row(n), logits.cols), label_logit = logits(n, labels[n]);
        losses[n] = lse - label_logit;
        for (int64_t v = 0; v < logits.cols; v++)
            logits(n, v) = std::exp(logits(n, v) - lse) * grad_scale * slope_of_cap(logits(n, v), soft_cap);
        logits(n, labels[n]) -= grad_scale * slope_of_cap(label_logit, soft_cap);
    }
}

struct Forward {
    static constexpr const char* name = "cross_entropy_forward";
    using Kernel = decltype(&cpu::cross_entropy_forward<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", cross_entropy_forward_kernel1},
                {"the C library's expf, threads", cross_entropy_forward_kernel2},
                {"llmc/cpu/cross_entropy.h: vectors, threads", cpu::cross_entropy_forward<float>}};
    }

    Tensor<float> logits, losses;
    Tensor<uint8_t> correct;
    std::vector<int32_t> labels;

    explicit Forward(const benchmark::Shape& shape)
        : logits(benchmark::random<float>(shape[0], shape[1], 1)),
          losses(benchmark::unwritten<float>(1, shape[0])),
          correct(benchmark::unwritten<uint8_t>(1, shape[0])),
          labels(benchmark::random_indices(shape[0], shape[1], 2)) {
        for (int64_t n = 0; n < shape[0]; n++) {
            for (int64_t v = 0; v < shape[1]; v++) logits(n, v) *= 10;
            if (n % 2 == 0) logits(n, labels[n]) = 12;  // a label that is right
        }
    }

    void call(Kernel kernel, const Device& device) { kernel(device, losses.data, correct.data, logits, labels); }
    // A running float sum of up to 5,000 terms, kernel 2's, is off by some 1e-6 of itself.
    std::vector<benchmark::Output> outputs() const {
        return {benchmark::output("losses", losses, 5e-6), benchmark::output("correct", correct, 0)};
    }
    benchmark::Work work() const { return {benchmark::Unit::bytes, logits.bytes()}; }
};

struct ForwardBackward {
    static constexpr const char* name = "cross_entropy_forward_backward";
    using Kernel = decltype(&cpu::cross_entropy_forward_backward<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", cross_entropy_forward_backward_kernel1},
                {"the C library's expf, threads", cross_entropy_forward_backward_kernel2},
                {"llmc/cpu/cross_entropy.h: vectors, threads", cpu::cross_entropy_forward_backward<float>}};
    }

    Forward forward;
    float soft_cap;

    explicit ForwardBackward(const benchmark::Shape& shape) : forward(shape), soft_cap(static_cast<float>(shape[2])) {}

    void call(Kernel kernel, const Device& device) {
        kernel(device, forward.losses.data, forward.correct.data, forward.logits, forward.labels, kGradScale, soft_cap);
    }
    std::vector<benchmark::Output> outputs() const {
        std::vector<benchmark::Output> outputs = forward.outputs();
        outputs.push_back(benchmark::output("dlogits", forward.logits, 5e-6));
        return outputs;
    }
    benchmark::Work work() const { return {benchmark::Unit::bytes, 2 * forward.logits.bytes()}; }
};

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run<Forward, ForwardBackward>(
        argc, argv,
        {.operators = "cross_entropy_forward, cross_entropy_forward_backward",
         .dimensions = "rows x vocabulary x soft cap",
         .odd = {{1, 1, 0}, {2, 7, 5}, {5, 33, 0}, {17, 320, 0}, {3, 5001, 0}, {3, 5001, 30}},
         .timed = {{512, 32064, 0}}});
}
