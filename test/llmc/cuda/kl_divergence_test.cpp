#include "llmc/cuda/kl_divergence.cuh"

#include "llmc/cpu/kl_divergence.h"
#include "test/llmc/cuda/device_matrix.h"

using namespace cuda_test;

namespace {

template <class T>
std::vector<float> divergences(const Buffer<float>& p_logits, const Buffer<float>& q_logits, int64_t padding) {
    const cuda::Device<T> device;
    return same_in_every_schedule([&] {
        const DeviceMatrix<T> p(p_logits, padding), q(q_logits, padding);
        const DeviceVector<float> values(p_logits.rows());
        cuda::kl_divergence<T>(device, values.data(), p.const_view(), q.const_view());
        return values.download();
    });
}

}  // namespace

TEMPLATE_TEST_CASE("the divergence on the GPU is the CPU's", "[cuda][kl_divergence]", float, bf16, fp16) {
    using T = TestType;
    // 9001: a thread has several Eights of a row, a different number of them.
    const Shape shape = GENERATE(Shape{4, 1, 0}, Shape{4, 7, 3}, Shape{4, 512, 0}, Shape{4, 9001, 1});
    const auto p = rounded<T>(random_buffer<float>(shape.rows, shape.cols, 1, 4.0));
    auto q = random_buffer<float>(shape.rows, shape.cols, 2, 0.3);
    for (int64_t n = 0; n < shape.rows; n++)
        for (int64_t v = 0; v < shape.cols; v++) q(n, v) += p(n, v);
    q = rounded<T>(q);
    const std::vector<float> found = divergences<T>(p, q, shape.padding);

    auto p_wide = in_double(p), q_wide = in_double(q);
    std::vector<double> expected(static_cast<size_t>(shape.rows));
    cpu::kl_divergence<double>(cpu::Device{1}, expected.data(), p_wide.view(), q_wide.view());
    // The exponentials' 2 ulp; the sums are in double.
    for (int64_t n = 0; n < shape.rows; n++) CHECK(found[n] == Approx(expected[n]).epsilon(1e-6).margin(1e-7));
    CHECK(divergences<T>(p, p, shape.padding) == std::vector<float>(static_cast<size_t>(shape.rows), 0.0f));
}

TEST_CASE("on the GPU the divergence of huge logits stays finite, and NaN reaches it", "[cuda][kl_divergence]") {
    Buffer<float> p(2, 600), q(2, 600);
    p.fill(-3e38f);
    q.fill(-3e38f);
    p(0, 3) = 3e38f, q(0, 3) = 3e38f, q(0, 599) = 3e38f;  // p is certain, q halves it
    p(1, 599) = std::nanf("");
    const std::vector<float> found = [&] {
        const cuda::Device<float> device;
        const DeviceMatrix<float> p_device(p), q_device(q);
        const DeviceVector<float> values(2);
        cuda::kl_divergence<float>(device, values.data(), p_device.const_view(), q_device.const_view());
        return values.download();
    }();
    CHECK(found[0] == Approx(std::log(2.0)));
    CHECK(std::isnan(found[1]));
}
