// The operators that only move, set or add rows.
#include "llmc/cpu/gather.h"
#include "llmc/cpu/rows.h"
#include "llmc/cuda/add.cuh"
#include "llmc/cuda/embedding.cuh"
#include "llmc/cuda/gather.cuh"
#include "llmc/cuda/rows.cuh"
#include "llmc/cuda/scale.cuh"
#include "test/llmc/cuda/device_matrix.h"

using namespace cuda_test;

namespace {

const cpu::Device kCpu{2};
const Shape kShapes[] = {{11, 64, 0}, {11, 70, 8}, {11, 61, 3}, {11, 1, 0}};

}  // namespace

TEMPLATE_TEST_CASE("rows picked and put back on the GPU are the CPU's", "[cuda][gather]", float, bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const Shape shape = GENERATE(from_range(std::begin(kShapes), std::end(kShapes)));
    const auto x = rounded<T>(random_buffer<float>(shape.rows, shape.cols, 1));
    const std::vector<int32_t> rows = GENERATE(std::vector<int32_t>{}, std::vector<int32_t>{0, 1, 5, 10},
                                               std::vector<int32_t>{3}, std::vector<int32_t>{2, 9});
    const int64_t count = static_cast<int64_t>(rows.size());
    const DeviceMatrix<T> device_x(x, shape.padding);
    const DeviceVector<int32_t> device_rows(rows);

    const auto gathered = same_in_every_schedule([&] {
        const DeviceMatrix<T> out(count, shape.cols, shape.padding), embedded(count, shape.cols, shape.padding);
        cuda::gather_rows<T>(device, out.view(), device_x.view(), device_rows.span());
        cuda::embedding_forward<T>(device, embedded.view(), device_x.view(), device_rows.span());
        CHECK(embedded.download() == out.download());
        return out.download();
    });
    const auto scattered = same_in_every_schedule([&] {
        const DeviceMatrix<T> in(gathered, shape.padding), out(shape.rows, shape.cols, shape.padding);
        cuda::scatter_rows<T>(device, out.view(), in.view(), device_rows.span());
        return out.download();
    });
    Buffer<float> expected(count, shape.cols), expected_scattered(shape.rows, shape.cols);
    cpu::gather_rows<float>(kCpu, expected.view(), x.view(), rows);
    cpu::scatter_rows<float>(kCpu, expected_scattered.view(), expected.view(), rows);
    CHECK(gathered == expected);
    CHECK(scattered == expected_scattered);
}

TEST_CASE("a token may be embedded several times, in any order", "[cuda][embedding]") {
    const cuda::Device<float> device;
    const auto table = random_buffer<float>(6, 10, 1);
    const std::vector<int32_t> ids{5, 0, 0, 3};
    const DeviceMatrix<float> device_table(table), out(4, 10);
    cuda::embedding_forward<float>(device, out.view(), device_table.view(), DeviceVector<int32_t>(ids).span());
    const auto gpu = out.download();
    for (int64_t n = 0; n < 4; n++)
        for (int64_t c = 0; c < 10; c++) CHECK(gpu(n, c) == table(ids[n], c));
}

TEMPLATE_TEST_CASE("rows are added, multiplied, filled, copied and zeroed", "[cuda][rows]", float, bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const Shape shape = GENERATE(from_range(std::begin(kShapes), std::end(kShapes)));
    const auto x = rounded<T>(random_buffer<float>(shape.rows, shape.cols, 1));
    const auto y = random_buffer<float>(shape.rows, shape.cols, 2);
    const auto bias = rounded<T>(random_vector<float>(shape.cols, 3));
    same_in_every_schedule([&] {
        const DeviceMatrix<T> device_x(x, shape.padding), out(rounded<T>(y), shape.padding);
        const DeviceMatrix<float> wide(y);
        auto expected = rounded<T>(y);
        for (int64_t n = 0; n < shape.rows; n++)
            for (int64_t c = 0; c < shape.cols; c++) expected(n, c) += x(n, c);
        cuda::add<T>(device, out.view(), device_x.view());
        CHECK(out.download() == rounded<T>(expected));

        auto multiplied = x;
        for (int64_t n = 0; n < shape.rows; n++)
            for (int64_t c = 0; c < shape.cols; c++) multiplied(n, c) *= 0.3f;
        cuda::scale<T>(device, out.view(), device_x.view(), 0.3f);
        CHECK(out.download() == rounded<T>(multiplied));

        cuda::fill_rows<T>(device, out.view(), DeviceVector<T>(narrow<T>(bias)).data());
        const auto filled = out.download();
        for (int64_t n = 0; n < shape.rows; n++)
            for (int64_t c = 0; c < shape.cols; c++) CHECK(filled(n, c) == bias[c]);

        cuda::copy<T>(device, out.view(), device_x.view());
        CHECK(out.download() == x);
        cuda::copy<T>(device, out.view(), wide.const_view());  // from fp32: rounded
        CHECK(out.download() == rounded<T>(y));
        cuda::copy<float>(device, wide.view(), out.view());
        CHECK(wide.download() == rounded<T>(y));

        cuda::set_zero<T>(device, out.view());
        CHECK(out.download() == Buffer<float>(shape.rows, shape.cols));
        cuda::set_zero<float>(device, wide.view());
        CHECK(wide.download() == Buffer<float>(shape.rows, shape.cols));
        return 0;
    });
}

TEMPLATE_TEST_CASE("columns are divided, each by its own number", "[cuda][rows]", float, bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const Shape shape = GENERATE(from_range(std::begin(kShapes), std::end(kShapes)));
    const auto y = rounded<T>(random_buffer<float>(shape.rows, shape.cols, 1));
    std::vector<float> divisor;
    for (int64_t c = 0; c < shape.cols; c++) divisor.push_back(0.5f + 0.1f * static_cast<float>(c % 9));
    auto expected = y;
    cpu::divide_columns<float>(kCpu, expected.view(), divisor.data());
    const auto gpu = same_in_every_schedule([&] {
        const DeviceMatrix<T> out(y, shape.padding);
        cuda::divide_columns<T>(device, out.view(), DeviceVector<float>(divisor).data());
        return out.download();
    });
    CHECK(gpu == rounded<T>(expected));
}
