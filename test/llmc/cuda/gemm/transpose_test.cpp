#include "llmc/cuda/gemm/transpose.cuh"

#include "llmc/core/integers.h"
#include "test/llmc/cuda/device_matrix.h"

using namespace cuda_test;

TEST_CASE("transpose_int8 turns a weight and fills up with zeros", "[cuda][transpose]") {
    const cuda::Device<bf16> device;
    // Aligned and not, less than a tile and several.
    const Shape shape =
        GENERATE(Shape{128, 128, 0}, Shape{64, 48, 16}, Shape{300, 260, 4}, Shape{37, 61, 3}, Shape{1, 1, 0});
    const int64_t stride = cuda::round_up(shape.rows, 16), out_rows = shape.cols + 2;
    std::vector<int8_t> w(shape.rows * (shape.cols + shape.padding));
    for (size_t i = 0; i < w.size(); i++) w[i] = static_cast<int8_t>(i * 2654435761u >> 13);
    const auto gpu = same_in_every_schedule([&] {
        const DeviceVector<int8_t> device_w(w), out(out_rows * stride);
        cuda::transpose_int8(device, out.matrix(out_rows, shape.rows, stride),
                             device_w.matrix(shape.rows, shape.cols, shape.cols + shape.padding));
        return out.download();
    });
    std::vector<int8_t> expected(out_rows * stride);
    for (int64_t o = 0; o < shape.rows; o++)
        for (int64_t i = 0; i < shape.cols; i++) expected[i * stride + o] = w[o * (shape.cols + shape.padding) + i];
    CHECK(gpu == expected);
}

TEST_CASE("transpose_int8 takes rows that no word begins with", "[cuda][transpose]") {
    const cuda::Device<bf16> device;
    std::vector<int8_t> w(9 * 14);
    for (size_t i = 0; i < w.size(); i++) w[i] = static_cast<int8_t>(i);
    const DeviceVector<int8_t> device_w(w), out(10 * 9);
    cuda::transpose_int8(device, out.matrix(10, 9), device_w.matrix(9, 10, 14, 3));
    const auto gpu = out.download();
    for (int64_t o = 0; o < 9; o++)
        for (int64_t i = 0; i < 10; i++) CHECK(gpu[i * 9 + o] == w[o * 14 + 3 + i]);
}
