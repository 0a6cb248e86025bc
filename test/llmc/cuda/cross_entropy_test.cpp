#include "llmc/cuda/cross_entropy.cuh"

#include "llmc/cpu/cross_entropy.h"
#include "test/llmc/cuda/device_matrix.h"

using namespace cuda_test;

namespace {

const cpu::Device kCpu{2};

struct Result {
    std::vector<float> losses;
    std::vector<uint8_t> correct;
    Buffer<float> logits;
    bool operator==(const Result&) const = default;
};

}  // namespace

TEMPLATE_TEST_CASE("cross-entropy on the GPU is the CPU's", "[cuda][cross_entropy]", float, bf16, fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    // 17001: a thread has several Eights of a row, a different number of them.
    const Shape shape = GENERATE(Shape{5, 1, 0}, Shape{5, 7, 3}, Shape{5, 512, 0}, Shape{5, 17001, 1});
    const auto logits = rounded<T>(random_buffer<float>(shape.rows, shape.cols, 1, 4.0));
    const int32_t last = static_cast<int32_t>(shape.cols - 1);
    std::vector<int32_t> labels{0, last / 2, last, last / 3, 0};
    for (int32_t v = 0; v <= last; v++)
        if (logits(4, v) > logits(4, labels[4])) labels[4] = v;  // right where the others are wrong
    const float grad_scale = 128.0f;                             // as with loss scaling

    const auto run = [&](bool backward) {
        const DeviceMatrix<T> x(logits, shape.padding);
        const DeviceVector<int32_t> device_labels(labels);
        const DeviceVector<float> losses(shape.rows);
        const DeviceVector<uint8_t> correct(shape.rows);
        if (backward) {
            cuda::cross_entropy_forward_backward<T>(device, losses.data(), correct.data(), x.view(),
                                                    device_labels.span(), grad_scale);
        } else {
            cuda::cross_entropy_forward<T>(device, losses.data(), correct.data(), x.view(), device_labels.span());
        }
        return Result{losses.download(), correct.download(), x.download()};
    };
    const Result forward = same_in_every_schedule([&] { return run(false); });
    const Result backward = same_in_every_schedule([&] { return run(true); });

    auto dlogits = in_double(logits);
    std::vector<double> losses(shape.rows);
    std::vector<uint8_t> correct(shape.rows);
    cpu::cross_entropy_forward_backward<double>(kCpu, losses.data(), correct.data(), dlogits.view(), labels,
                                                grad_scale);
    CHECK(forward.logits == logits);
    CHECK(forward.losses == backward.losses);
    CHECK(forward.correct == correct);
    CHECK(backward.correct == correct);
    CHECK(correct[4] == 1);
    // The exponentials' 2 ulp and sums of some 30 steps; the absolute part where softmax and onehot cancel, and where
    // fp16 has its smallest step, 2^-24.
    for (int64_t n = 0; n < shape.rows; n++) CHECK(forward.losses[n] == Approx(losses[n]).epsilon(2e-6).margin(2e-6));
    CHECK(excess(backward.logits, dlogits, unit_roundoff<T>() + 2e-6, 1e-6 * grad_scale) <= 1);
}

TEMPLATE_TEST_CASE("cross-entropy with a soft cap on the GPU is the CPU's", "[cuda][cross_entropy]", float, bf16,
                   fp16) {
    using T = TestType;
    const cuda::Device<T> device;
    // What is beyond the end of a row must not count: -inf capped is a number.
    const Shape shape = GENERATE(Shape{3, 7, 3}, Shape{3, 64, 0}, Shape{3, 8201, 1});
    auto logits = rounded<T>(random_buffer<float>(shape.rows, shape.cols, 1, 8.0));
    const int32_t last = static_cast<int32_t>(shape.cols - 1);
    const std::vector<int32_t> labels{0, last / 2, last};
    logits(2, last) = 60000;  // right, and the cap is flat there
    const float grad_scale = 128.0f, soft_cap = 5.0f;

    const Result seen = same_in_every_schedule([&] {
        const DeviceMatrix<T> x(logits, shape.padding);
        const DeviceVector<int32_t> device_labels(labels);
        const DeviceVector<float> losses(shape.rows);
        const DeviceVector<uint8_t> correct(shape.rows);
        cuda::cross_entropy_forward_backward<T>(device, losses.data(), correct.data(), x.view(), device_labels.span(),
                                                grad_scale, soft_cap);
        return Result{losses.download(), correct.download(), x.download()};
    });

    auto dlogits = in_double(logits);
    std::vector<double> losses(shape.rows);
    std::vector<uint8_t> correct(shape.rows);
    cpu::cross_entropy_forward_backward<double>(kCpu, losses.data(), correct.data(), dlogits.view(), labels, grad_scale,
                                                soft_cap);
    CHECK(seen.correct == correct);
    CHECK(correct[2] == 1);
    // As above; and a capped logit is off by 2e-7 of the cap, which is the exponential's relative error, and the slope
    // by 5e-7 where all of it cancels.
    for (int64_t n = 0; n < shape.rows; n++) CHECK(seen.losses[n] == Approx(losses[n]).epsilon(3e-6).margin(3e-6));
    CHECK(excess(seen.logits, dlogits, unit_roundoff<T>() + 4e-6, 2e-6 * grad_scale) <= 1);
}

TEST_CASE("of equally large logits the GPU takes the first, as the CPU does", "[cuda][cross_entropy]") {
    const cuda::Device<float> device;
    Buffer<float> logits(3, 1000);
    for (int64_t n = 0; n < 3; n++) logits(n, 500) = logits(n, 501) = logits(n, 900) = 3.0f;
    const std::vector<int32_t> labels{500, 501, 900};
    const auto correct = same_in_every_schedule([&] {
        const DeviceMatrix<float> x(logits);
        const DeviceVector<float> losses(3);
        const DeviceVector<uint8_t> right(3);
        cuda::cross_entropy_forward<float>(device, losses.data(), right.data(), x.view(),
                                           DeviceVector<int32_t>(labels).span());
        return right.download();
    });
    CHECK(correct == std::vector<uint8_t>{1, 0, 0});
}

TEST_CASE("huge logits do not overflow, and NaN reaches the loss", "[cuda][cross_entropy]") {
    const cuda::Device<float> device;
    Buffer<float> logits(2, 600);
    logits(0, 3) = 3e38f;
    logits(0, 4) = -3e38f;
    logits(1, 599) = std::nanf("");
    const DeviceMatrix<float> x(logits);
    const DeviceVector<float> losses(2);
    const DeviceVector<uint8_t> correct(2);
    cuda::cross_entropy_forward_backward<float>(device, losses.data(), correct.data(), x.view(),
                                                DeviceVector<int32_t>(std::vector<int32_t>{3, 0}).span(), 1.0f);
    CHECK(losses.download()[0] == 0.0f);
    CHECK(std::isnan(losses.download()[1]));
    CHECK(std::isnan(x.download()(1, 0)));
}
