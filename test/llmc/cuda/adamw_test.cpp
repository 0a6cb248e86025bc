#include "llmc/cpu/adamw.h"

#include "llmc/cuda/adamw.cuh"
#include "test/llmc/cuda/device_matrix.h"

using namespace cuda_test;

namespace {

const cpu::Device kCpu{2};

struct State {
    std::vector<float> params, m, v;
    bool operator==(const State&) const = default;
};

}  // namespace

TEST_CASE("AdamW steps on the GPU are the CPU's", "[cuda][adamw]") {
    const cuda::Device<bf16> device;  // the adapters are fp32 whatever the device computes in
    const int64_t count = GENERATE(1, 8, 2500);
    const llmc::AdamWOptions options{.learning_rate = 1e-2, .weight_decay = 0.1};
    const auto params = random_vector<float>(count, 1);
    std::vector<std::vector<float>> grads;
    for (uint32_t step = 1; step <= 5; step++) grads.push_back(random_vector<float>(count, 10 + step));

    const State gpu = same_in_every_schedule([&] {
        const DeviceVector<float> p(params), m(std::vector<float>(count, 0.0f)), v(std::vector<float>(count, 0.0f));
        for (int64_t step = 1; step <= 5; step++) {
            const DeviceVector<float> g(grads[step - 1]);
            cuda::adamw_step<float>(device, p.span(), g.span(), m.span(), v.span(), options, step, 0.5f);
        }
        return State{p.download(), m.download(), v.download()};
    });
    auto p = in_double(params);
    std::vector<double> m(count), v(count);
    for (int64_t step = 1; step <= 5; step++)
        cpu::adamw_step<double>(kCpu, p, in_double(grads[step - 1]), m, v, options, step, 0.5f);
    for (int64_t i = 0; i < count; i++) {
        // Some ten fp32 operations a step; sums of terms of either sign.
        CHECK(gpu.params[i] == Approx(p[i]).epsilon(1e-6).margin(1e-6));
        CHECK(gpu.m[i] == Approx(m[i]).epsilon(1e-6).margin(1e-6));
        CHECK(gpu.v[i] == Approx(v[i]).epsilon(1e-6));
    }
}
