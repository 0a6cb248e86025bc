// The rotation on the GPU: what is quantised after it, and what is rotated back, against the CPU, which
// test/llmc/cpu/hadamard_test.cpp compares with the definition.
#include "llmc/cuda/kernel/hadamard.cuh"

#include "llmc/core/integers.h"
#include "llmc/cpu/quantize.h"
#include "llmc/cuda/quantize.cuh"
#include "test/llmc/cuda/quantized.h"

using namespace cuda_test;

TEMPLATE_TEST_CASE("rows rotated and quantised on the GPU are the CPU's, bit for bit", "[cuda][hadamard]", float, bf16,
                   fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    // Blocks of all sizes; rows that end within a warp, and one of which a thread has more than it keeps in registers.
    const Shape shape = GENERATE(Shape{16, 64, 0}, Shape{5, 72, 8}, Shape{3, 48, 3}, Shape{2, 8320, 0},
                                 Shape{4, 1056, 0}, Shape{1, 8, 0}, Shape{2, 9216, 1});
    const bool split = GENERATE(true, false);
    const int64_t block = cuda::hadamard_block(shape.cols);
    CAPTURE(shape.rows, shape.cols, block, split);
    const auto x = rounded<T>(random_buffer<float>(shape.rows, shape.cols, 1));
    const std::vector<int32_t> channels{0, 1, 5, static_cast<int32_t>(shape.cols - 1)};
    const std::vector<float> s{3.0f, 1.0f, 2.5f, 40.0f};

    const Quantized gpu = same_in_every_schedule([&] {
        const DeviceMatrix<T> device_x(x, shape.padding), outliers(shape.rows, 6);
        const int64_t q_rows = cuda::round_up(shape.rows, 16), stride = cuda::round_up(shape.cols, 16);
        const DeviceVector<int8_t> q(q_rows * stride);
        const DeviceVector<float> row_scale(shape.rows), device_s(s);
        const DeviceVector<int32_t> device_channels(channels);
        cuda::quantize_rows<T>(device, q.matrix(q_rows, shape.cols, stride), row_scale.data(), outliers.view(),
                               device_x.view(), {device_channels.span(), split ? nullptr : device_s.data(), block});
        return Quantized{q.download(), row_scale.download(), outliers.download()};
    });

    auto xh = x;
    Buffer<float> outliers(shape.rows, 6);  // zeros beyond the channels
    for (int64_t n = 0; n < shape.rows; n++) {
        for (int64_t j = 0; j < 4; j++) {
            outliers(n, j) = split ? x(n, channels[j]) : widen(narrow<T>(x(n, channels[j]) / s[j]));
            xh(n, channels[j]) = split ? 0 : outliers(n, j);
        }
    }
    Quantized expected = quantized_on_cpu(xh, block);
    expected.outliers = outliers;
    CHECK(gpu == expected);
}

TEST_CASE("a weight rotated and quantised on the GPU is the CPU's, bit for bit", "[cuda][hadamard]") {
    const cuda::Device<bf16> device;
    const auto [rows, cols] = GENERATE(std::pair(35, 72), std::pair(3, 1088));
    const auto w = random_buffer<float>(rows, cols, 1, 0.02);
    const int64_t block = cuda::hadamard_block(cols), q_rows = cuda::round_up(rows, 16),
                  stride = cuda::round_up(cols, 16);
    const Quantized gpu = same_in_every_schedule([&, rows = rows, cols = cols] {
        const DeviceMatrix<float> device_w(w);
        const DeviceVector<int8_t> q(q_rows * stride);
        const DeviceVector<float> scale(rows);
        cuda::quantize_weight(device, q.matrix(q_rows, cols, stride), scale.data(), device_w.const_view(), block);
        return Quantized{q.download(), scale.download(), Buffer<float>(rows, 0)};
    });
    CHECK(gpu == quantized_on_cpu(w, block));
}

TEMPLATE_TEST_CASE("rows rotated as they are dequantised on the GPU are the CPU's", "[cuda][hadamard]", float, bf16,
                   fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    // The last rows of y end within a block of threads and within a warp.
    const Shape shape = GENERATE(Shape{4, 64, 0}, Shape{3, 72, 3}, Shape{7, 96, 1}, Shape{33, 320, 0});
    const int64_t stride = cuda::round_up(shape.cols, 16), block = cuda::hadamard_block(shape.cols);
    std::vector<int32_t> sums(shape.rows * stride);
    for (size_t i = 0; i < sums.size(); i++) sums[i] = static_cast<int32_t>(i * 2654435761u) / 1000;
    const auto row_scale = random_vector<float>(shape.rows, 1, 1e-3);
    const auto gpu = same_in_every_schedule([&] {
        const DeviceMatrix<T> y(shape.rows, shape.cols, shape.padding);
        const DeviceVector<int32_t> device_sums(sums);
        const DeviceVector<float> rows(row_scale);
        cuda::dequantize_rows<T>(device, y.view(), device_sums.matrix(shape.rows, shape.cols, stride), rows.data(),
                                 nullptr, nullptr, block);
        return y.download();
    });
    Buffer<float> expected(shape.rows, shape.cols);
    for (int64_t n = 0; n < shape.rows; n++) {
        for (int64_t c = 0; c < shape.cols; c++)
            expected(n, c) = row_scale[n] * static_cast<float>(sums[n * stride + c]);
        cpu::hadamard_row(expected.view().row(n), shape.cols, block);
    }
    CHECK(gpu == rounded<T>(expected));
}
