#include "quaff/model/cuda/scales.cuh"

#include "quaff/model/scales.h"
#include "test/llmc/cuda/device_matrix.h"

using namespace cuda_test;

TEST_CASE("scales move on the GPU as on the CPU", "[cuda][scales]") {
    const cuda::Device<bf16> device;
    const size_t count = GENERATE(0, 1, 150);
    const float strength = GENERATE(0.5f, 1.0f, 0.75f);
    auto xmax = random_vector<float>(count, 1, 30.0), wmax = random_vector<float>(count, 2, 0.5);
    for (float& x : xmax) x = std::abs(x);
    for (float& w : wmax) w = std::abs(w);
    if (count > 1) wmax[1] = 0;
    const auto run = [&](float gamma, int updates) {
        return same_in_every_schedule([&] {
            const DeviceVector<float> s(static_cast<int64_t>(count)), x(xmax), w(wmax);  // s is NaN before
            cuda::scales_from_maxima(device, s.span(), x.data(), w.data(), strength);
            for (int i = 0; i < updates; i++)
                cuda::update_scales(device, s.span(), w.data(), w.data(), gamma, strength);
            return s.download();
        });
    };
    std::vector<float> s(count);
    cpu::scales_from_maxima({}, s, xmax.data(), wmax.data(), strength);
    if (strength == 0.5f) CHECK(run(0.1f, 0) == s);
    const auto first = run(0.1f, 0);
    for (size_t j = 0; j < count; j++) CHECK(first[j] == Approx(s[j]).epsilon(3e-7));  // powf is each library's own
    for (int i = 0; i < 3; i++) cpu::update_scales({}, s, wmax.data(), wmax.data(), 0.4f, strength);
    const auto gpu = run(0.4f, 3);
    for (size_t j = 0; j < count; j++) CHECK(gpu[j] == Approx(s[j]).epsilon(3e-7));  // fused or not
}

TEST_CASE("smoothing scales on the GPU are the CPU's", "[cuda][scales]") {
    const cuda::Device<bf16> device;
    const size_t count = GENERATE(1, 150);
    const float alpha = GENERATE(0.5f, 0.625f, 0.0f, 1.0f);
    auto xmax = random_vector<float>(count, 1, 30.0), wmax = random_vector<float>(count, 2, 0.5);
    for (float& x : xmax) x = std::abs(x);
    for (float& w : wmax) w = std::abs(w);
    if (count > 2) wmax[1] = xmax[2] = 0;
    const auto gpu = same_in_every_schedule([&] {
        const DeviceVector<float> s(static_cast<int64_t>(count)), x(xmax), w(wmax);
        cuda::smoothing_scales(device, s.span(), x.data(), w.data(), alpha);
        return s.download();
    });
    std::vector<float> s(count);
    cpu::smoothing_scales({}, s, xmax.data(), wmax.data(), alpha);
    for (size_t i = 0; i < count; i++) {
        CHECK(gpu[i] == Approx(s[i]).epsilon(1e-7));
        if (count <= 2 || (i != 1 && i != 2))
            CHECK(s[i] == Approx(std::pow(xmax[i], alpha) / std::pow(wmax[i], 1 - alpha)).epsilon(1e-6));
    }
    if (count > 2) CHECK((s[1] == 1 && s[2] == 1));
}
