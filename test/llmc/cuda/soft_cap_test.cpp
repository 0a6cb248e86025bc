#include "llmc/cuda/soft_cap.cuh"

#include "llmc/cpu/soft_cap.h"
#include "test/llmc/cuda/device_matrix.h"

using namespace cuda_test;

namespace {

const cpu::Device kCpu{2};

}  // namespace

TEMPLATE_TEST_CASE("a soft cap on the GPU is the CPU's", "[cuda][soft_cap]", float, bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const Shape shape = GENERATE(Shape{3, 5, 3}, Shape{4, 512, 0}, Shape{2, 1001, 1});
    const float cap = 30.0f;
    auto x = random_buffer<float>(shape.rows, shape.cols, 1, 20.0);
    for (int64_t c = 0; c < shape.cols; c++) x(0, c) *= 1e-2f;  // small values keep their digits
    x(1, 0) = 60000;
    x = rounded<T>(x);

    const auto seen = same_in_every_schedule([&] {
        const DeviceMatrix<T> in_place(x, shape.padding);
        cuda::soft_cap<T>(device, in_place.view(), cap);
        return in_place.download();
    });
    auto expected = in_double(x);
    cpu::soft_cap<double>(kCpu, expected.view(), cap);
    // The rounding to T (an absolute one where fp16 has no normal numbers), 1 / cap, x / cap, the tanh's 2 ulp, the
    // product.
    CHECK(excess(seen, expected, unit_roundoff<T>() + 4e-7, std::is_same_v<T, fp16> ? 0x1p-25 : 0) <= 1);

    const DeviceMatrix<T> as_it_was(x, shape.padding);
    cuda::soft_cap<T>(device, as_it_was.view(), 0.0f);
    CHECK(as_it_was.download() == x);
    CHECK_THROWS_AS(cuda::soft_cap<T>(device, as_it_was.view(), -1.0f), llmc::Error);
}
