// One AdamW step, from options in double to the kernel that the program runs.
//
//   g = grad_scale grads
//   p <- p (1 - lr weight_decay)
//   m <- beta1 m + (1 - beta1) g
//   v <- beta2 v + (1 - beta2) g^2
//   p <- p - lr / (1 - beta1^step)  m / (sqrt(v) / sqrt(1 - beta2^step) + eps)
//
// Four flat buffers of fp32; p, m and v are updated in place.
//
//   kernel 1   a thread a parameter, everything from the options: two powers in double for each, because an fp32
//              1 - beta2^step is off by 1e-4 of itself at the first steps
//   kernel 2   the host computes once what all parameters share
//   kernel 3   llmc/cuda/adamw.cuh: a thread eight parameters, 16 bytes a load
//
// Bytes: p, m, v read and written, grads read.
#include "dev/cuda/common.cuh"
#include "llmc/cpu/adamw.h"
#include "llmc/cuda/adamw.cuh"

namespace {

using namespace benchmark;

constexpr AdamWOptions kOptions{.learning_rate = 1e-3, .weight_decay = 0.1};
constexpr int64_t kStep = 3;
constexpr float kGradScale = 0.5f;

__global__ void adamw_kernel1(float* params, const float* grads, float* m, float* v, int64_t count,
                              AdamWOptions options, int64_t step, float grad_scale) {
    const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const double g = grad_scale * grads[i], t = static_cast<double>(step);
    m[i] = static_cast<float>(options.beta1 * m[i] + (1 - options.beta1) * g);
    v[i] = static_cast<float>(options.beta2 * v[i] + (1 - options.beta2) * g * g);
    const double corrected_m = m[i] / (1 - pow(options.beta1, t));
    const double corrected_v = v[i] / (1 - pow(options.beta2, t));
    const double decayed = params[i] * (1 - options.learning_rate * options.weight_decay);
    params[i] = static_cast<float>(decayed - options.learning_rate * corrected_m / (sqrt(corrected_v) + options.eps));
}

__global__ void adamw_kernel2(float* params, const float* grads, float* m, float* v, int64_t count,
                              cuda::AdamWFactors factors) {
    const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const float g = factors.grad_scale * grads[i];
    m[i] = factors.keep1 * m[i] + factors.take1 * g;
    v[i] = factors.keep2 * v[i] + factors.take2 * g * g;
    params[i] =
        params[i] * factors.decay - factors.step_size * m[i] / (sqrtf(v[i]) * factors.root_correction + factors.eps);
}

void step(const Bench<float>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t count = shape[0];
    const Tensor<float> grads(1, count, 1), p_before(1, count, 2), m_before(1, count, 3);
    std::vector<float> squares = m_before.download();
    for (float& square : squares) square *= square;
    const Tensor<float> v_before(squares), p(1, count), m(1, count), v(1, count);
    p.copy_from(p_before);
    m.copy_from(m_before);
    v.copy_from(v_before);
    HostMatrix<double> expected_p(0, 0), expected_m(0, 0), expected_v(0, 0);
    const auto span_of = [](HostMatrix<double>& matrix) {
        return std::span<double>(matrix.data(), static_cast<size_t>(matrix.cols()));
    };
    bench.run({
        .name = "adamw_step",
        .shape = shape,
        .work = moved(7 * p.bytes()),
        .reference =
            [&] {
                expected_p = p_before.host<double>();
                expected_m = m_before.host<double>();
                expected_v = v_before.host<double>();
                auto host_grads = grads.host<double>();
                cpu::adamw_step({}, span_of(expected_p), span_of(host_grads), span_of(expected_m), span_of(expected_v),
                                kOptions, kStep, kGradScale);
            },
        // Three fp32 roundings of terms of up to 1, which cancel in m and in p. v is a sum of squares.
        .outputs = {updated("p", p, p_before, expected_p, {0, 2e-7}), updated("m", m, m_before, expected_m, {0, 2e-7}),
                    updated("v", v, v_before, expected_v, {4e-7, 0})},
        .versions = {{1,
                      "powers in double in every thread",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "adamw_kernel1", adamw_kernel1, blocks(count, block), block, 0, p.data(),
                                       grads.data(), m.data(), v.data(), count, kOptions, kStep, kGradScale);
                      }},
                     {2,
                      "constants from the host",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "adamw_kernel2", adamw_kernel2, blocks(count, block), block, 0, p.data(),
                                       grads.data(), m.data(), v.data(), count,
                                       cuda::adamw_factors(kOptions, kStep, kGradScale));
                      }},
                     {3,
                      "llmc: 16-byte loads",
                      {},
                      [&](int) {
                          cuda::adamw_step<float>(device, p.span(), grads.span(), m.span(), v.span(), kOptions, kStep,
                                                  kGradScale);
                      }}},
    });
}

const Program kProgram{
    .operators = "adamw_step",
    .dimensions = "parameters",
    .odd = {{1}, {7}, {1000}, {8301}},
    .timed = {{25'000'000}, {100'000'000}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram, [](const Bench<float>& bench, const Shape& shape) { step(bench, shape); });
}
