#include "llmc/cuda/dropout.cuh"

#include "llmc/cpu/dropout.h"
#include "test/llmc/cuda/device_matrix.h"

using namespace cuda_test;

namespace {

const cpu::Device kCpu{2};
const llmc::DropoutStream kStream{0x123456789abcdefull, 0x500000007ull, 11};

}  // namespace

TEMPLATE_TEST_CASE("dropout on the GPU draws the CPU's mask", "[cuda][dropout]", float, bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const Shape shape = GENERATE(Shape{9, 64, 0}, Shape{7, 301, 3}, Shape{1, 1, 0});
    const float p = GENERATE(0.0f, 0.1f, 0.5f);
    const auto x = rounded<T>(random_buffer<float>(shape.rows, shape.cols, 1));
    const auto before = rounded<T>(random_buffer<float>(shape.rows, shape.cols, 2));

    const auto forward = same_in_every_schedule([&] {
        const DeviceMatrix<T> in_place(x, shape.padding), apart(shape.rows, shape.cols, shape.padding);
        cuda::dropout_forward<T>(device, apart.view(), in_place.view(), p, kStream);
        cuda::dropout_forward<T>(device, in_place.view(), in_place.view(), p, kStream);
        CHECK(in_place.download() == apart.download());
        return in_place.download();
    });
    const auto backward = same_in_every_schedule([&] {
        const DeviceMatrix<T> dx(before, shape.padding), dout(x, shape.padding);
        cuda::dropout_backward<T>(device, dx.view(), dout.view(), p, kStream);
        return dx.download();
    });
    Buffer<float> out(shape.rows, shape.cols);
    auto dx = before;
    cpu::dropout_forward<float>(kCpu, out.view(), x.view(), p, kStream);
    cpu::dropout_backward<float>(kCpu, dx.view(), x.view(), p, kStream);
    CHECK(forward == rounded<T>(out));  // zeros in the same places, and one rounding
    // One of the two may fuse product and sum.
    CHECK(excess(backward, dx, unit_roundoff<T>() + 0x1p-23, 1e-6) <= 1);
}

TEST_CASE("dropping everything is refused on the GPU too", "[cuda][dropout]") {
    const cuda::Device<float> device;
    CHECK_THROWS_AS(cuda::dropout_forward<float>(device, {}, {}, 1.0f, kStream), llmc::Error);
}
