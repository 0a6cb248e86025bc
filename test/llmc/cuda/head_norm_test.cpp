#include "llmc/cuda/head_norm.cuh"

#include "llmc/cpu/head_norm.h"
#include "test/llmc/cuda/device_matrix.h"

using namespace cuda_test;

namespace {

const cpu::Device kCpu{2};
const float kEps = 1e-5f;

// A team of lanes that is a whole warp and loops, one of a few lanes, one with Eights that are not whole.
struct Heads {
    int64_t rows, heads, channels, padding;
};
const Heads kShapes[] = {{13, 3, 128, 0}, {5, 2, 64, 8}, {7, 3, 22, 3}, {1, 1, 2, 0}, {3, 2, 300, 1}};

// Beside the rounding of the result to T: a lane adds 16 fp32 terms at the most, the team's 5 levels, each step half an
// ulp; then a handful of operations.
template <class T>
double relative_error() {
    return unit_roundoff<T>() + 2e-6;
}

// Of the weights, w and addend together: those of padded shapes have one.
float addend_of(const Heads& shape) {
    return shape.padding > 0 ? 1.0f : 0.0f;
}

struct Forward {
    Buffer<float> x, kept, rstd;
    bool operator==(const Forward&) const = default;
};

}  // namespace

TEMPLATE_TEST_CASE("head norm forward on the GPU is the CPU's", "[cuda][head_norm]", float, bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const Heads shape = GENERATE(from_range(std::begin(kShapes), std::end(kShapes)));
    const int64_t width = shape.heads * shape.channels;
    const auto x = rounded<T>(random_buffer<float>(shape.rows, width, 1));
    const auto weight = rounded<T>(random_vector<float>(shape.channels, 2));

    const Forward gpu = same_in_every_schedule([&] {
        const DeviceMatrix<T> in_place(x, shape.padding), kept(shape.rows, width, shape.padding);
        const DeviceMatrix<float> rstd(shape.rows, shape.heads);
        cuda::head_norm_forward<T>(device, in_place.view(), kept.view(), rstd.view(),
                                   {DeviceVector<T>(narrow<T>(weight)).data(), addend_of(shape)}, kEps);
        return Forward{in_place.download(), kept.download(), rstd.download()};
    });

    auto out = in_double(x);
    Buffer<double> kept(shape.rows, width), rstd(shape.rows, shape.heads);
    cpu::head_norm_forward<double>(kCpu, out.view(), kept.view(), rstd.view(),
                                   {in_double(weight).data(), addend_of(shape)}, kEps);
    CHECK(gpu.kept == x);
    CHECK(excess(gpu.x, out, relative_error<T>(), 1e-7) <= 1);
    CHECK(excess(gpu.rstd, rstd, 2e-6, 0) <= 1);
}

TEMPLATE_TEST_CASE("head norm backward on the GPU is the CPU's", "[cuda][head_norm]", float, bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const Heads shape = GENERATE(from_range(std::begin(kShapes), std::end(kShapes)));
    const int64_t width = shape.heads * shape.channels;
    const auto kept = rounded<T>(random_buffer<float>(shape.rows, width, 1));
    const auto dout = rounded<T>(random_buffer<float>(shape.rows, width, 2));
    const auto weight = rounded<T>(random_vector<float>(shape.channels, 3));
    const auto rstd = random_buffer<float>(shape.rows, shape.heads, 4, 0.3);

    const auto gpu = same_in_every_schedule([&] {
        const DeviceMatrix<T> in_place(dout, shape.padding), device_kept(kept, shape.padding);
        const DeviceMatrix<float> device_rstd(rstd);
        cuda::head_norm_backward<T>(device, in_place.view(), device_kept.view(), device_rstd.view(),
                                    {DeviceVector<T>(narrow<T>(weight)).data(), addend_of(shape)});
        return in_place.download();
    });
    auto expected = in_double(dout);
    cpu::head_norm_backward<double>(kCpu, expected.view(), in_double(kept).view(), in_double(rstd).view(),
                                    {in_double(weight).data(), addend_of(shape)});
    // Terms of up to 10 cancel to what is left: their fp32 roundings stay.
    CHECK(excess(gpu, expected, relative_error<T>(), 4e-6) <= 1);
}
