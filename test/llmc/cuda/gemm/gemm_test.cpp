#include "llmc/cuda/gemm/gemm.cuh"

#include <tuple>

#include "llmc/cpu/gemm/gemm.h"
#include "test/llmc/cuda/blas.h"

using namespace cuda_test;
using llmc_test::random_buffer;

namespace {

// The three GEMMs, into a y of type Out, against the CPU's in double on the same inputs.
template <class T, class Out>
void check_gemms(int64_t m, int64_t k, int64_t n, float alpha, float beta, int64_t padding) {
    const BlasDevice<T> gpu;
    const cpu::Device cpu{1};
    auto y = rounded<Out>(random_buffer<double>(m, n, 1));
    if (beta == 0) y.fill(std::nan(""));  // must not be read
    const auto random = [](int64_t rows, int64_t cols, uint32_t seed) {
        return rounded<T>(random_buffer<double>(rows, cols, seed));
    };
    const auto a = random(m, k, 2), at = random(k, m, 3), b = random(k, n, 4), bt = random(n, k, 5);
    auto nt = y, nn = y, tn = y;
    cpu::gemm_nt(cpu, nt.view(), a.view(), bt.view(), alpha, beta);
    cpu::gemm_nn(cpu, nn.view(), a.view(), b.view(), alpha, beta);
    cpu::gemm_tn(cpu, tn.view(), at.view(), b.view(), alpha, beta);

    const DeviceMatrix<T> a_gpu(a, padding), at_gpu(at, padding), b_gpu(b, padding), bt_gpu(bt, padding);
    const double unit = 1e-4;  // fp32 sums of 130 products of normals, alpha 2, a margin of 3
    for (int repeat = 0; repeat < 2; repeat++) {
        const DeviceMatrix<Out> nt_gpu(y, padding), nn_gpu(y, padding), tn_gpu(y, padding), again(y, padding);
        cuda::gemm_nt<T>(gpu.device, nt_gpu.view(), a_gpu.view(), bt_gpu.view(), alpha, beta);
        cuda::gemm_nn<T>(gpu.device, nn_gpu.view(), a_gpu.view(), b_gpu.view(), alpha, beta);
        cuda::gemm_tn<T>(gpu.device, tn_gpu.view(), at_gpu.view(), b_gpu.view(), alpha, beta);
        CHECK(nt_gpu.error(nt, unit) <= 1);
        CHECK(nn_gpu.error(nn, unit) <= 1);
        CHECK(tn_gpu.error(tn, unit) <= 1);
        cuda::gemm_tn<T>(gpu.device, again.view(), at_gpu.view(), b_gpu.view(), alpha, beta);
        CHECK(same_bits(again.bits(), tn_gpu.bits()));
    }
}

}  // namespace

TEMPLATE_TEST_CASE("the three GEMMs on the GPU are the CPU's in every shape", "[cuda][gemm]", float, bf16, fp16) {
    const auto [m, k, n] = GENERATE(table<int, int, int>(
        {{1, 1, 1}, {5, 7, 3}, {33, 64, 17}, {16, 8, 32}, {4, 0, 3}, {0, 3, 2}, {3, 2, 0}, {70, 130, 90}}));
    const auto [alpha, beta, padding] =
        GENERATE(table<float, float, int64_t>({{1.0f, 0.0f, 0}, {0.5f, 1.0f, 3}, {-2.0f, 0.25f, 8}}));
    CAPTURE(m, k, n, alpha, beta, padding);
    check_gemms<TestType, TestType>(m, k, n, alpha, beta, padding);
    check_gemms<TestType, float>(m, k, n, alpha, beta, padding);
}

TEMPLATE_TEST_CASE("a GEMM over nothing scales y in every schedule", "[cuda][gemm]", float, bf16, fp16) {
    const BlasDevice<TestType> gpu;
    const float beta = GENERATE(0.0f, 0.25f, 1.0f);
    auto y = rounded<TestType>(random_buffer<double>(37, 70, 1));
    Buffer<double> expected = y;
    for (int64_t i = 0; i < y.rows(); i++) {
        for (int64_t j = 0; j < y.cols(); j++) expected(i, j) = static_cast<double>(beta) * y(i, j);
    }
    if (beta == 0) y.fill(std::nan(""));
    const DeviceMatrix<TestType> none(Buffer<double>(37, 0)), weight(Buffer<double>(70, 0));
    for_each_schedule([&] {
        const DeviceMatrix<TestType> y_gpu(y);
        cuda::gemm_nt<TestType>(gpu.device, y_gpu.view(), none.view(), weight.view(), 1, beta);
        CHECK(y_gpu.error(expected, 1e-6) <= 1);  // exact but for fp16's subnormals
    });
}

TEMPLATE_TEST_CASE("a GEMM's matrices may begin at any element", "[cuda][gemm]", float, bf16, fp16) {
    using T = TestType;
    const BlasDevice<T> gpu;
    const int displaced = GENERATE(0, 1, 2);
    const auto x = rounded<T>(random_buffer<double>(32, 64, 1)), w = rounded<T>(random_buffer<double>(16, 64, 2));
    Buffer<double> y(32, 16);
    cpu::gemm_nt(cpu::Device{1}, y.view(), x.view(), w.view(), 1, 0);
    // Rows are as far apart as any algorithm wants them.
    const DeviceMatrix<T> x_gpu(x, 64, displaced == 0), w_gpu(w, 64, displaced == 1), y_gpu(y, 112, displaced == 2);
    cuda::gemm_nt<T>(gpu.device, y_gpu.view(), x_gpu.view(), w_gpu.view(), 1, 0);
    CHECK(y_gpu.error(y, 1e-4) <= 1);  // as above
}
