#include "llmc/cuda/rmsnorm.cuh"

#include "llmc/core/integers.h"
#include "llmc/cpu/rmsnorm.h"
#include "test/llmc/cuda/device_matrix.h"

using namespace cuda_test;

namespace {

const cpu::Device kCpu{2};
const float kEps = 1e-5f;

const Shape kShapes[] = {{5, 64, 0}, {3, 61, 3}, {2, 1000, 8}, {1, 1, 0}, {2, 8301, 1}};

// Beside the rounding of the result to T: a thread adds 24 fp32 terms at the most, the block's 10 levels, each step
// half an ulp; then a handful of operations.
template <class T>
double relative_error() {
    return unit_roundoff<T>() + 2e-6;
}

// Of the weights, w and addend together: those of padded shapes have one.
float addend_of(const Shape& shape) {
    return shape.padding > 0 ? 1.0f : 0.0f;
}

struct Forward {
    Buffer<float> out, residual;
    std::vector<float> rstd;
    bool operator==(const Forward&) const = default;
};

}  // namespace

TEMPLATE_TEST_CASE("rmsnorm forward on the GPU is the CPU's", "[cuda][rmsnorm]", float, bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const Shape shape = GENERATE(from_range(std::begin(kShapes), std::end(kShapes)));
    const bool adds = GENERATE(true, false);
    const auto x = rounded<T>(random_buffer<float>(shape.rows, shape.cols, 1));
    const auto y = rounded<T>(random_buffer<float>(shape.rows, shape.cols, 2));
    const auto weight = rounded<T>(random_vector<float>(shape.cols, 3));
    const DeviceVector<T> device_weight(narrow<T>(weight));

    const Forward gpu = same_in_every_schedule([&] {
        const DeviceMatrix<T> device_x(x, shape.padding), device_y(y, shape.padding);
        const DeviceMatrix<T> out(shape.rows, shape.cols, shape.padding), r(shape.rows, shape.cols, shape.padding);
        const DeviceVector<float> rstd(shape.rows);
        cuda::rmsnorm_forward<T>(device, out.view(), r.view(), rstd.data(), device_x.view(),
                                 adds ? device_y.const_view() : Matrix<const T>{},
                                 {device_weight.data(), addend_of(shape)}, kEps);
        return Forward{out.download(), r.download(), rstd.download()};
    });

    Buffer<float> sum(shape.rows, shape.cols);
    Buffer<double> out(shape.rows, shape.cols), residual(shape.rows, shape.cols);
    for (int64_t n = 0; n < shape.rows; n++)
        for (int64_t c = 0; c < shape.cols; c++) sum(n, c) = x(n, c) + (adds ? y(n, c) : 0.0f);
    sum = rounded<T>(sum);
    std::vector<double> rstd(shape.rows);
    cpu::rmsnorm_forward<double>(kCpu, out.view(), residual.view(), rstd.data(), in_double(sum).view(), {},
                                 {in_double(weight).data(), addend_of(shape)}, kEps);
    CHECK(gpu.residual == sum);
    CHECK(excess(gpu.out, out, relative_error<T>(), 1e-7) <= 1);
    for (int64_t n = 0; n < shape.rows; n++) CHECK(gpu.rstd[n] == Approx(rstd[n]).epsilon(2e-6));

    // The recompute has the very same bits, and r may be x.
    const DeviceMatrix<T> again(shape.rows, shape.cols), in_place(gpu.residual), out_too(shape.rows, shape.cols);
    const DeviceVector<float> kept(gpu.rstd), rstd_too(shape.rows);
    cuda::rmsnorm_apply<T>(device, again.view(), in_place.view(), kept.data(),
                           {device_weight.data(), addend_of(shape)});
    cuda::rmsnorm_forward<T>(device, out_too.view(), in_place.view(), rstd_too.data(), in_place.view(), {},
                             {device_weight.data(), addend_of(shape)}, kEps);
    CHECK(again.download() == gpu.out);
    CHECK(out_too.download() == gpu.out);
    CHECK(in_place.download() == gpu.residual);
}

TEMPLATE_TEST_CASE("rmsnorm backward on the GPU is the CPU's", "[cuda][rmsnorm]", float, bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const Shape shape = GENERATE(from_range(std::begin(kShapes), std::end(kShapes)));
    const auto r = rounded<T>(random_buffer<float>(shape.rows, shape.cols, 1));
    const auto dout = rounded<T>(random_buffer<float>(shape.rows, shape.cols, 2));
    const auto before = rounded<T>(random_buffer<float>(shape.rows, shape.cols, 3));
    const auto weight = rounded<T>(random_vector<float>(shape.cols, 4));
    const auto rstd = std::vector<float>(shape.rows, 0.75f);

    const auto gpu = same_in_every_schedule([&] {
        const DeviceMatrix<T> dr(before, shape.padding), device_dout(dout, shape.padding), device_r(r, shape.padding);
        cuda::rmsnorm_backward<T>(device, dr.view(), device_dout.view(), device_r.view(),
                                  DeviceVector<float>(rstd).data(),
                                  {DeviceVector<T>(narrow<T>(weight)).data(), addend_of(shape)});
        return dr.download();
    });
    auto expected = in_double(before);
    cpu::rmsnorm_backward<double>(kCpu, expected.view(), in_double(dout).view(), in_double(r).view(),
                                  in_double(rstd).data(), {in_double(weight).data(), addend_of(shape)});
    // Terms of up to 10 cancel to what is left: their fp32 roundings stay.
    CHECK(excess(gpu, expected, relative_error<T>(), 4e-6) <= 1);
}

namespace {

struct Quantized {
    Buffer<float> out, residual;
    std::vector<float> rstd;
    std::vector<int8_t> q;
    std::vector<float> row_scale;
    Buffer<float> outliers;
    std::vector<float> xmax;
    bool operator==(const Quantized&) const = default;
};

}  // namespace

TEMPLATE_TEST_CASE("rmsnorm fused with quantisation gives the bits of the two after each other", "[cuda][rmsnorm]",
                   float, bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const Shape shape = GENERATE(Shape{5, 64, 0}, Shape{3, 61, 3}, Shape{1, 1, 0}, Shape{2, 8301, 1});
    const auto x = random_buffer<float>(shape.rows, shape.cols, 1), y = random_buffer<float>(shape.rows, shape.cols, 2);
    const auto weight = random_vector<float>(shape.cols, 3);
    std::vector<int32_t> channels;
    if (shape.cols > 40) channels = {0, 7, 8, 39, static_cast<int32_t>(shape.cols - 1)};
    const auto s = std::vector<float>{3.0f, 1.0f, 2.5f, 40.0f, 1.25f};
    const int64_t count = static_cast<int64_t>(channels.size());
    const int64_t q_rows = cuda::round_up(shape.rows, 16), q_stride = cuda::round_up(shape.cols, 16);

    const auto run = [&](bool fused) {
        const DeviceMatrix<T> device_x(x, shape.padding), device_y(y, shape.padding);
        const DeviceMatrix<T> out(shape.rows, shape.cols, shape.padding), r(shape.rows, shape.cols, shape.padding);
        const DeviceMatrix<T> out_too(shape.rows, shape.cols), r_too(shape.rows, shape.cols);
        const DeviceMatrix<T> outliers(shape.rows, count);
        const DeviceVector<float> rstd(shape.rows), rstd_too(shape.rows), row_scale(shape.rows), xmax(count);
        const DeviceVector<int8_t> q(q_rows * q_stride);
        const DeviceVector<int32_t> device_channels(channels);
        const DeviceVector<float> device_s(s);
        const DeviceVector<T> w(narrow<T>(weight));
        const Matrix<int8_t> q_view(q.data(), q_rows, shape.cols, q_stride);
        const cuda::RowTransform transform{device_channels.span(), device_s.data(), cuda::hadamard_block(shape.cols)};
        if (fused) {
            cuda::rmsnorm_forward_absmax<T>(device, out_too.view(), r_too.view(), rstd_too.data(), xmax.data(),
                                            device_x.view(), device_y.view(), {w.data(), addend_of(shape)}, kEps,
                                            device_channels.span());
            cuda::rmsnorm_forward_quantize<T>(device, out.view(), r.view(), rstd.data(), q_view, row_scale.data(),
                                              outliers.view(), device_x.view(), device_y.view(),
                                              {w.data(), addend_of(shape)}, kEps, transform);
            CHECK(out_too.download() == out.download());
            CHECK(r_too.download() == r.download());
            CHECK(rstd_too.download() == rstd.download());
        } else {
            cuda::rmsnorm_forward<T>(device, out.view(), r.view(), rstd.data(), device_x.view(), device_y.view(),
                                     {w.data(), addend_of(shape)}, kEps);
            cuda::outlier_absmax<T>(device, xmax.data(), out.view(), device_channels.span());
            cuda::quantize_rows<T>(device, q_view, row_scale.data(), outliers.view(), out.view(), transform);
        }
        return Quantized{out.download(),       r.download(),        rstd.download(), q.download(),
                         row_scale.download(), outliers.download(), xmax.download()};
    };
    const Quantized fused = same_in_every_schedule([&] { return run(true); });
    CHECK(fused == run(false));
}
