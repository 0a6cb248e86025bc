#include "llmc/cuda/swiglu.cuh"

#include "llmc/core/integers.h"
#include "llmc/cpu/swiglu.h"
#include "test/llmc/cuda/device_matrix.h"

using namespace cuda_test;
using llmc::Gate;

namespace {

const cpu::Device kCpu{2};

// cols: gate and up together.
const Shape kShapes[] = {{5, 64, 0}, {3, 62, 3}, {2, 1008, 8}, {1, 2, 0}, {37, 528, 1}};

// Beside the rounding of the result to T: the exponential's 2 ulp and a few operations. The tanh gate's a is rounded,
// e^-a carries |a| times that, and results of an |a| above 20 are below the absolute bound.
template <class T>
double relative_error(Gate gate) {
    return unit_roundoff<T>() + (gate == Gate::silu ? 2e-6 : 6e-6);
}

}  // namespace

TEMPLATE_TEST_CASE("swiglu on the GPU is the CPU's", "[cuda][swiglu]", float, bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const Gate gate = GENERATE(Gate::silu, Gate::gelu_tanh);
    const Shape shape = GENERATE(from_range(std::begin(kShapes), std::end(kShapes)));
    const int64_t width = shape.cols / 2;
    auto gate_up = rounded<T>(random_buffer<float>(shape.rows, shape.cols, 1, 3.0));
    if (width > 1) gate_up(0, 0) = -200.0f, gate_up(0, 1) = 200.0f;

    const auto dout = rounded<T>(random_buffer<float>(shape.rows, width, 2));

    const auto forward = same_in_every_schedule([&] {
        const DeviceMatrix<T> out(shape.rows, width, shape.padding), in(gate_up, shape.padding);
        cuda::swiglu_forward<T>(device, out.view(), in.view(), gate);
        return out.download();
    });
    // In place, as a block's backward does it.
    const auto backward = same_in_every_schedule([&] {
        const DeviceMatrix<T> d(dout, shape.padding), in_place(gate_up, shape.padding);
        cuda::swiglu_backward<T>(device, in_place.view(), d.view(), in_place.view(), gate);
        return in_place.download();
    });
    Buffer<double> out(shape.rows, width), dgate_up(shape.rows, shape.cols);
    cpu::swiglu_forward<double>(kCpu, out.view(), in_double(gate_up).view(), gate);
    cpu::swiglu_backward<double>(kCpu, dgate_up.view(), in_double(dout).view(), in_double(gate_up).view(), gate);
    // fp16's smallest step is 2^-24.
    CHECK(excess(forward, out, relative_error<T>(gate), 1e-7) <= 1);
    // 1 + g (1 - sigmoid) cancels where it crosses zero.
    CHECK(excess(backward, dgate_up, relative_error<T>(gate), 1e-5) <= 1);
}

namespace {

struct Quantized {
    Buffer<float> out;
    std::vector<int8_t> q;
    std::vector<float> row_scale;
    Buffer<float> outliers;
    std::vector<float> xmax;
    bool operator==(const Quantized&) const = default;
};

}  // namespace

TEMPLATE_TEST_CASE("swiglu on the GPU of the largest gates is the gate or nothing, never NaN", "[cuda][swiglu]", float,
                   bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const Gate gate = GENERATE(Gate::silu, Gate::gelu_tanh);
    const float large = GENERATE(1e4f, 65504.0f);  // the last: fp16's largest
    Buffer<float> gates(1, 4), ones(1, 2);
    const float seen = widen(narrow<T>(large));
    gates(0, 0) = large, gates(0, 1) = -large, gates(0, 2) = gates(0, 3) = 1.0f;
    ones.fill(1.0f);
    const DeviceMatrix<T> in(gates), dout(ones), out(1, 2);
    cuda::swiglu_forward<T>(device, out.view(), in.view(), gate);
    cuda::swiglu_backward<T>(device, in.view(), dout.view(), in.view(), gate);
    const Buffer<float> forward = out.download(), backward = in.download();
    CHECK(forward(0, 0) == seen);
    CHECK(forward(0, 1) == 0.0f);
    CHECK(backward(0, 0) == 1.0f);
    CHECK(backward(0, 1) == 0.0f);
    CHECK(backward(0, 2) == seen);
    CHECK(backward(0, 3) == 0.0f);
}

TEMPLATE_TEST_CASE("swiglu fused with quantisation gives the bits of the two after each other", "[cuda][swiglu]", float,
                   bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    const Gate gate = GENERATE(Gate::silu, Gate::gelu_tanh);
    const Shape shape = GENERATE(Shape{5, 96, 0}, Shape{3, 122, 3}, Shape{2, 16602, 1});
    const int64_t width = shape.cols / 2;
    const auto gate_up = random_buffer<float>(shape.rows, shape.cols, 1);
    const std::vector<int32_t> channels{0, 1, 15, static_cast<int32_t>(width - 1)};
    const std::vector<float> s{3.0f, 1.0f, 2.5f, 40.0f};
    const int64_t q_rows = cuda::round_up(shape.rows, 16), q_stride = cuda::round_up(width, 16);

    const auto run = [&](bool fused) {
        const DeviceMatrix<T> in(gate_up, shape.padding), out(shape.rows, width), out_too(shape.rows, width);
        const DeviceMatrix<T> outliers(shape.rows, 4);
        const DeviceVector<float> row_scale(shape.rows), xmax(4), device_s(s);
        const DeviceVector<int8_t> q(q_rows * q_stride);
        const DeviceVector<int32_t> device_channels(channels);
        const Matrix<int8_t> q_view(q.data(), q_rows, width, q_stride);
        const cuda::RowTransform transform{device_channels.span(), device_s.data(), cuda::hadamard_block(width)};
        if (fused) {
            cuda::swiglu_forward_absmax<T>(device, out_too.view(), xmax.data(), in.view(), device_channels.span(),
                                           gate);
            cuda::swiglu_forward_quantize<T>(device, out.view(), q_view, row_scale.data(), outliers.view(), in.view(),
                                             transform, gate);
            CHECK(out_too.download() == out.download());
        } else {
            cuda::swiglu_forward<T>(device, out.view(), in.view(), gate);
            cuda::outlier_absmax<T>(device, xmax.data(), out.view(), device_channels.span());
            cuda::quantize_rows<T>(device, q_view, row_scale.data(), outliers.view(), out.view(), transform);
        }
        return Quantized{out.download(), q.download(), row_scale.download(), outliers.download(), xmax.download()};
    };
    const Quantized fused = same_in_every_schedule([&] { return run(true); });
    CHECK(fused == run(false));
}
