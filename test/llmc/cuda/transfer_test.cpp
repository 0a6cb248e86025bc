#include "llmc/cuda/transfer.cuh"

#include "test/llmc/cuda/device_matrix.h"

using namespace cuda_test;

namespace {

// Integers that all types hold, and no two rows of one length are alike: 251 is a prime.
float value(int64_t row, int64_t col) {
    return static_cast<float>((row * 1000 + col) * 37 % 251 - 125);
}

}  // namespace

// 2^16 elements are what one thread of the host converts at a time.
TEMPLATE_TEST_CASE("matrices longer than one thread's share go to the GPU and come back whole", "[cuda][transfer]",
                   float, bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const Shape shape = GENERATE(Shape{1, (1 << 16) + 3, 0}, Shape{70, 1000, 0}, Shape{70, 1000, 8}, Shape{3, 5, 2});
    CAPTURE(shape.rows, shape.cols, shape.padding);
    Buffer<float> expected(shape.rows, shape.cols);
    for (int64_t i = 0; i < shape.rows; i++)
        for (int64_t j = 0; j < shape.cols; j++) expected(i, j) = value(i, j);

    const DeviceMatrix<T> there(shape.rows, shape.cols, shape.padding);
    cuda::fill_from_host(device, there.view(), [&](Matrix<float> host) {
        for (int64_t i = 0; i < host.rows; i++) std::copy_n(expected.view().row(i), host.cols, host.row(i));
    });
    CHECK(there.download() == expected);  // which looks between the rows, too

    std::vector<float> staging;
    const Matrix<const float> back = cuda::host_view(device, there.const_view(), staging);
    REQUIRE((back.rows == shape.rows && back.cols == shape.cols));
    Buffer<float> returned(shape.rows, shape.cols);
    for (int64_t i = 0; i < shape.rows; i++) std::copy_n(back.row(i), shape.cols, returned.view().row(i));
    CHECK(returned == expected);
}
