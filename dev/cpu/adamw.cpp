// One AdamW step as torch.optim.AdamW takes it, on the gradient g = grad_scale grads.
//
//   p <- p (1 - lr weight_decay)
//   m <- beta1 m + (1 - beta1) g
//   v <- beta2 v + (1 - beta2) g^2
//   p <- p - lr / (1 - beta1^step)  m / (sqrt(v) / sqrt(1 - beta2^step) + eps)
//
//   kernel 1   the definition: one thread, in double
//   kernel 2   the definition by all threads, each with a part of the parameters
//   kernel 3   llmc/cpu/adamw.h: in float, vectors and threads
//
//   make -C dev/cpu && build/dev/cpu/adamw [version] [--shape ...]
#include "llmc/cpu/adamw.h"

#include "dev/cpu/common.h"

namespace {

using namespace llmc;
using benchmark::Device, benchmark::Tensor;

void adamw_step_kernel1(const Device&, std::span<float> params, std::span<const float> grads, std::span<float> m,
                        std::span<float> v, const AdamWOptions& options, int64_t step, float grad_scale) {
    const double correction1 = 1 - std::pow(options.beta1, step), correction2 = 1 - std::pow(options.beta2, step);
    for (size_t i = 0; i < params.size(); i++) {
        const double g = static_cast<double>(grad_scale) * grads[i];
        const double m_new = options.beta1 * m[i] + (1 - options.beta1) * g;
        const double v_new = options.beta2 * v[i] + (1 - options.beta2) * g * g;
        const double decayed = params[i] * (1 - options.learning_rate * options.weight_decay);
        const double root = std::sqrt(v_new / correction2) + options.eps;
        params[i] = static_cast<float>(decayed - options.learning_rate / correction1 * m_new / root);
        m[i] = static_cast<float>(m_new);
        v[i] = static_cast<float>(v_new);
    }
}

void adamw_step_kernel2(const Device& device, std::span<float> params, std::span<const float> grads, std::span<float> m,
                        std::span<float> v, const AdamWOptions& options, int64_t step, float grad_scale) {
    const auto parts = static_cast<size_t>(device.threads);
#pragma omp parallel for num_threads(device.threads) schedule(static, 1)
    for (size_t part = 0; part < parts; part++) {
        const size_t begin = params.size() * part / parts, count = params.size() * (part + 1) / parts - begin;
        adamw_step_kernel1(device, params.subspan(begin, count), grads.subspan(begin, count), m.subspan(begin, count),
                           v.subspan(begin, count), options, step, grad_scale);
    }
}

struct Step {
    static constexpr const char* name = "adamw_step";
    using Kernel = decltype(&cpu::adamw_step<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", adamw_step_kernel1},
                {"the definition, threads", adamw_step_kernel2},
                {"llmc/cpu/adamw.h: vectors, threads", cpu::adamw_step<float>}};
    }

    Tensor<float> params, grads, m, v;
    AdamWOptions options{.weight_decay = 0.01};

    explicit Step(const benchmark::Shape& shape)
        : params(benchmark::random<float>(1, shape[0], 1)),
          grads(benchmark::random<float>(1, shape[0], 2)),
          m(benchmark::random<float>(1, shape[0], 3)),
          v(benchmark::random<float>(1, shape[0], 4)) {
        for (float& value : v.span()) value = std::abs(value);  // a mean of squares
    }

    void call(Kernel kernel, const Device& device) {
        kernel(device, params.span(), grads.span(), m.span(), v.span(), options, 7, 0.5f);
    }
    // A few ulp of float arithmetic.
    std::vector<benchmark::Output> outputs() const {
        return {benchmark::output("params", params, 3e-7), benchmark::output("m", m, 3e-7),
                benchmark::output("v", v, 3e-7)};
    }
    benchmark::Work work() const { return {benchmark::Unit::bytes, 7 * params.bytes()}; }
};

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run<Step>(argc, argv,
                                {.operators = "adamw_step",
                                 .dimensions = "parameters",
                                 .odd = {{1}, {7}, {33}, {1001}, {4099}},
                                 .timed = {{8'000'000}}});
}
