#include "llmc/cuda/quantize.cuh"

#include <limits>

#include "llmc/core/integers.h"
#include "llmc/cpu/gemm/int8_ways.h"
#include "llmc/cpu/quantize.h"
#include "test/llmc/cuda/quantized.h"

using namespace cuda_test;

namespace {

const cpu::Device kCpu{2};

}  // namespace

TEMPLATE_TEST_CASE("rows quantised on the GPU are the CPU's, bit for bit", "[cuda][quantize]", float, bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const Shape shape = GENERATE(Shape{16, 64, 0}, Shape{5, 72, 8}, Shape{3, 61, 3}, Shape{2, 8301, 1}, Shape{1, 1, 0});
    const auto x = rounded<T>(random_buffer<float>(shape.rows, shape.cols, 1));
    std::vector<int32_t> channels;
    if (shape.cols > 40 && GENERATE(true, false)) channels = {0, 7, 8, 39, static_cast<int32_t>(shape.cols - 1)};
    const std::vector<float> s{3.0f, 1.0f, 2.5f, 40.0f, 1.25f};
    const int64_t count = static_cast<int64_t>(channels.size());
    const int64_t outlier_cols = count > 0 ? count + 3 : 0;  // what is beyond the channels becomes zero

    const Quantized gpu = same_in_every_schedule([&] {
        const DeviceMatrix<T> device_x(x, shape.padding), outliers(shape.rows, outlier_cols);
        const DeviceVector<int8_t> q(cuda::round_up(shape.rows, 16) * cuda::round_up(shape.cols, 16));
        const DeviceVector<float> row_scale(shape.rows), device_s(s);
        const DeviceVector<int32_t> device_channels(channels);
        cuda::quantize_rows<T>(
            device, q.matrix(cuda::round_up(shape.rows, 16), shape.cols, cuda::round_up(shape.cols, 16)),
            row_scale.data(), outliers.view(), device_x.view(), {device_channels.span(), device_s.data()});
        return Quantized{q.download(), row_scale.download(), outliers.download()};
    });

    auto scaled = x;
    Buffer<float> outliers(shape.rows, outlier_cols);
    for (int64_t n = 0; n < shape.rows; n++) {
        for (int64_t j = 0; j < count; j++) {
            scaled(n, channels[j]) = widen(narrow<T>(x(n, channels[j]) / s[j]));
            outliers(n, j) = scaled(n, channels[j]);
        }
    }
    Quantized expected = quantized_on_cpu(scaled);
    expected.outliers = outliers;
    CHECK(gpu == expected);
}

TEMPLATE_TEST_CASE("gradient rows quantised on the GPU are the CPU's, bit for bit", "[cuda][quantize]", float, bf16,
                   fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    // 41000: longer than what a block holds of a row, in every type.
    const Shape shape = GENERATE(Shape{16, 64, 0}, Shape{3, 61, 3}, Shape{2, 41000, 0}, Shape{1, 20501, 1});
    const auto dy = rounded<T>(random_buffer<float>(shape.rows, shape.cols, 1, 1e-3));
    const auto col_scale = random_vector<float>(shape.cols, 2, 0.01);

    const Quantized gpu = same_in_every_schedule([&] {
        const DeviceMatrix<T> device_dy(dy, shape.padding);
        const DeviceVector<int8_t> q(cuda::round_up(shape.rows, 16) * cuda::round_up(shape.cols, 16));
        const DeviceVector<float> row_scale(shape.rows);
        cuda::quantize_gradient_rows<T>(
            device, q.matrix(cuda::round_up(shape.rows, 16), shape.cols, cuda::round_up(shape.cols, 16)),
            row_scale.data(), device_dy.view(), DeviceVector<float>(col_scale).data());
        return Quantized{q.download(), row_scale.download(), Buffer<float>(shape.rows, 0)};
    });
    auto product = dy;
    for (int64_t n = 0; n < shape.rows; n++)
        for (int64_t o = 0; o < shape.cols; o++) product(n, o) = dy(n, o) * col_scale[o];
    CHECK(gpu == quantized_on_cpu(product));
}

TEST_CASE("a weight quantised on the GPU is the CPU's, bit for bit", "[cuda][quantize]") {
    const cuda::Device<bf16> device;
    const auto w = random_buffer<float>(35, 77, 1, 0.02);
    const DeviceMatrix<float> device_w(w);
    const DeviceVector<int8_t> q(48 * 80);
    const DeviceVector<float> scale(35);
    cuda::quantize_weight(device, q.matrix(48, 77, 80), scale.data(), device_w.const_view(), 0);
    CHECK(Quantized{q.download(), scale.download(), Buffer<float>(35, 0)} == quantized_on_cpu(w));
}

// A scale just below a power of two has the least accurate reciprocal, which puts many products on the wrong side of a
// half. Beyond 2^-96 and 2^96 the kernel divides by the scale, and below 2^-128 there is no reciprocal at all.
TEST_CASE("halves between two integers go to the even one on the GPU, whatever the row's scale", "[cuda][quantize]") {
    const cuda::Device<float> device;
    const std::vector<int> exponents{-130, -126, -97, -96, -95, -20, 0, 95, 96, 97, 120};
    const std::vector<float> fractions{1, 1 - 0x1p-24f, 1 - 0x5p-24f, 1 - 0x1p-10f};
    const auto rows = static_cast<int64_t>(exponents.size() * fractions.size());
    const int64_t cols = 1 + 2 * 127, stride = cuda::round_up(cols, 16);
    Buffer<float> x(rows, cols);
    for (int64_t n = 0; n < rows; n++) {
        const float scale = std::ldexp(fractions[n % fractions.size()], exponents[n / fractions.size()]);
        x(n, 0) = 127 * scale;
        for (int64_t k = 0; k < 127; k++) {
            x(n, 1 + 2 * k) = (static_cast<float>(k) + 0.5f) * scale;
            x(n, 2 + 2 * k) = -x(n, 1 + 2 * k);
        }
    }
    const DeviceMatrix<float> device_x(x), outliers(rows, 0);
    const DeviceVector<int8_t> q(cuda::round_up(rows, 16) * stride);
    const DeviceVector<float> row_scale(rows);
    cuda::quantize_rows<float>(device, q.matrix(cuda::round_up(rows, 16), cols, stride), row_scale.data(),
                               outliers.view(), device_x.view(), {});
    CHECK(Quantized{q.download(), row_scale.download(), Buffer<float>(rows, 0)} == quantized_on_cpu(x));
}

TEST_CASE("zero rows, denormal rows, infinities and NaN are what they are on the CPU", "[cuda][quantize]") {
    const cuda::Device<float> device;
    Buffer<float> x(5, 40);
    x(1, 2) = std::numeric_limits<float>::denorm_min();
    x(2, 0) = 1e-39f;
    x(3, 7) = std::nanf("");
    x(3, 8) = std::numeric_limits<float>::infinity();
    x(4, 39) = -std::numeric_limits<float>::infinity();
    const DeviceMatrix<float> device_x(x), outliers(5, 0);
    const DeviceVector<int8_t> q(5 * 48);
    const DeviceVector<float> row_scale(5), xmax(2);
    const DeviceVector<int32_t> channels(std::vector<int32_t>{7, 39});
    cuda::quantize_rows<float>(device, q.matrix(5, 40, 48), row_scale.data(), outliers.view(), device_x.view(), {});
    const auto scales = row_scale.download();
    const auto integers = q.download();
    CHECK(scales[0] == 1.0f);
    CHECK(scales[1] == 1.0f);
    CHECK(integers[2 * 48] == 127);
    CHECK(std::isnan(scales[3]));
    CHECK(std::isinf(scales[4]));
    for (int64_t n = 0; n < 5; n++)
        for (int64_t c = 40; c < 48; c++) CHECK(int{integers[n * 48 + c]} == 0);
    cuda::outlier_absmax<float>(device, xmax.data(), device_x.view(), channels.span());
    CHECK(std::isnan(xmax.download()[0]));
    CHECK(std::isinf(xmax.download()[1]));
}

TEMPLATE_TEST_CASE("outlier_absmax on the GPU is the largest magnitude of each channel", "[cuda][quantize]", float,
                   bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const int64_t rows = GENERATE(0, 1, 64, 150);
    const auto x = rounded<T>(random_buffer<float>(rows, 90, 1));
    std::vector<int32_t> channels(70);  // more than one block of threads
    for (int j = 0; j < 70; j++) channels[j] = j + 20;
    const auto gpu = same_in_every_schedule([&] {
        const DeviceMatrix<T> device_x(x);
        const DeviceVector<float> xmax(70);
        cuda::outlier_absmax<T>(device, xmax.data(), device_x.view(), DeviceVector<int32_t>(channels).span());
        return xmax.download();
    });
    std::vector<float> expected(70);
    cpu::outlier_absmax(kCpu, expected.data(), x.view(), channels);
    CHECK(gpu == expected);
    cuda::outlier_absmax<T>(device, nullptr, Matrix<const T>(nullptr, rows, 90), {});
}

TEMPLATE_TEST_CASE("dequantised rows on the GPU are the CPU's", "[cuda][quantize]", float, bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const Shape shape = GENERATE(Shape{4, 64, 0}, Shape{3, 61, 3});
    const bool has_col_scale = GENERATE(true, false);
    const bool has_bias = has_col_scale && GENERATE(true, false);
    const int64_t stride = cuda::round_up(shape.cols, 16);
    std::vector<int32_t> sums(shape.rows * stride);
    for (size_t i = 0; i < sums.size(); i++) sums[i] = static_cast<int32_t>(i * 2654435761u) / 1000;
    const auto row_scale = random_vector<float>(shape.rows, 1, 1e-3), col_scale = random_vector<float>(shape.cols, 2);
    const auto bias = rounded<T>(random_vector<float>(shape.cols, 3));
    const auto gpu = same_in_every_schedule([&] {
        const DeviceMatrix<T> y(shape.rows, shape.cols, shape.padding);
        const DeviceVector<int32_t> device_sums(sums);
        const DeviceVector<float> rows(row_scale), cols(col_scale);
        const DeviceVector<T> device_bias(narrow<T>(bias));
        cuda::dequantize_rows<T>(device, y.view(), device_sums.matrix(shape.rows, shape.cols, stride), rows.data(),
                                 has_col_scale ? cols.data() : nullptr, has_bias ? device_bias.data() : nullptr);
        return y.download();
    });
    Buffer<float> expected(shape.rows, shape.cols);
    for (int64_t n = 0; n < shape.rows; n++) {
        cpu::dequantize_row(expected.view().row(n), sums.data() + n * stride, row_scale[n],
                            has_col_scale ? col_scale.data() : nullptr, has_bias ? bias.data() : nullptr, shape.cols);
    }
    // One ulp where one of the two fuses the last product with the sum: of terms up to 10^4 (the largest sum 2 10^6,
    // scales 3 10^-3 and 3).
    CHECK(excess(gpu, expected, unit_roundoff<T>() + 0x1p-23, has_bias ? 2e-3 : 0) <= 1);
}

#ifdef LLMC_EMULATED
TEST_CASE("a row that outgrows the GPU's shared memory is an error that names the operator", "[cuda][quantize]") {
    emu::machine().major = 7;
    emu::machine().minor = 5;
    const cuda::Device<fp16> device;
    const DeviceMatrix<fp16> x(1, 40000), outliers(1, 0);
    const DeviceVector<int8_t> q(40000);
    const DeviceVector<float> row_scale(1);
    CHECK_THROWS_WITH(
        cuda::quantize_rows<fp16>(device, q.matrix(1, 40000), row_scale.data(), outliers.view(), x.view(), {}),
        Catch::Matchers::ContainsSubstring("quantize_rows") && Catch::Matchers::ContainsSubstring("shared memory"));
    emu::machine() = {};
}
#endif

TEMPLATE_TEST_CASE("rows divided by a scale for every channel are the CPU's, and keep no outliers", "[cuda][quantize]",
                   float, bf16) {
    using T = TestType;
    const cuda::Device<T> device;
    const Shape shape = GENERATE(Shape{5, 72, 8}, Shape{3, 61, 3});
    const auto x = rounded<T>(random_buffer<float>(shape.rows, shape.cols, 1));
    std::vector<int32_t> channels;
    std::vector<float> s;
    auto divided = x;
    for (int64_t i = 0; i < shape.cols; i++) {
        channels.push_back(static_cast<int32_t>(i));
        s.push_back(0.25f + 0.3f * static_cast<float>(i % 7));
        for (int64_t n = 0; n < shape.rows; n++) divided(n, i) = widen(narrow<T>(x(n, i) / s.back()));
    }
    const Quantized gpu = same_in_every_schedule([&] {
        const DeviceMatrix<T> device_x(x, shape.padding);
        const DeviceVector<int8_t> q(cuda::round_up(shape.rows, 16) * cuda::round_up(shape.cols, 16));
        const DeviceVector<float> row_scale(shape.rows), device_s(s);
        const DeviceVector<int32_t> device_channels(channels);
        cuda::quantize_rows<T>(
            device, q.matrix(cuda::round_up(shape.rows, 16), shape.cols, cuda::round_up(shape.cols, 16)),
            row_scale.data(), Matrix<T>(), device_x.view(), {device_channels.span(), device_s.data()});
        return Quantized{q.download(), row_scale.download(), Buffer<float>(shape.rows, 0)};
    });
    CHECK(gpu == quantized_on_cpu(divided));
}

TEMPLATE_TEST_CASE("columns of a quantised weight are dequantised as on the CPU", "[cuda][quantize]", float, bf16) {
    using T = TestType;
    const cuda::Device<T> device;
    const int64_t rows = 37, cols = 61;
    const Quantized weight = quantized_on_cpu(random_buffer<float>(rows, cols, 1));
    const std::vector<int32_t> channels{0, 5, 8, 60};
    Buffer<int8_t> q(rows, cols);
    for (int64_t o = 0; o < rows; o++)
        for (int64_t i = 0; i < cols; i++) q(o, i) = weight.q[static_cast<size_t>(o * 64 + i)];
    Buffer<float> expected(rows, 4);
    cpu::dequantize_columns(kCpu, expected.view(), q.view(), weight.row_scale.data(), channels);
    const DeviceVector<int8_t> device_q(weight.q);
    const DeviceVector<float> scale(weight.row_scale);
    const DeviceVector<int32_t> device_channels(channels);
    const auto gpu = same_in_every_schedule([&] {
        const DeviceMatrix<T> w(rows, 4);
        cuda::dequantize_columns<T>(device, w.view(), device_q.matrix(rows, cols, 64), scale.data(),
                                    device_channels.span());
        return w.download();
    });
    CHECK(gpu == rounded<T>(expected));
}
