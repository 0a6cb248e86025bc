#include "quaff/model/cuda/scales.cuh"

#include "quaff/model/scales.h"
#include "test/llmc/cuda/device_matrix.h"

using namespace cuda_test;

TEST_CASE("scales move on the GPU as on the CPU", "[cuda][scales]") {
    const cuda::Device<bf16> device;
    const size_t count = GENERATE(0, 1, 150);
    auto xmax = random_vector<float>(count, 1, 30.0), wmax = random_vector<float>(count, 2, 0.5);
    for (float& x : xmax) x = std::abs(x);
    for (float& w : wmax) w = std::abs(w);
    if (count > 1) wmax[1] = 0;
    const auto run = [&](float gamma, int updates) {
        return same_in_every_schedule([&] {
            const DeviceVector<float> s(static_cast<int64_t>(count)), x(xmax), w(wmax);  // s is NaN before
            cuda::scales_from_maxima(device, s.span(), x.data(), w.data());
            for (int i = 0; i < updates; i++) cuda::update_scales(device, s.span(), w.data(), w.data(), gamma);
            return s.download();
        });
    };
    std::vector<float> s(count);
    cpu::scales_from_maxima({}, s, xmax.data(), wmax.data());
    CHECK(run(0.1f, 0) == s);
    for (int i = 0; i < 3; i++) cpu::update_scales({}, s, wmax.data(), wmax.data(), 0.4f);
    const auto gpu = run(0.4f, 3);
    for (size_t j = 0; j < count; j++) CHECK(gpu[j] == Approx(s[j]).epsilon(3e-7));  // fused or not
}
