#include "llmc/cpu/gemm/gemm.h"

#include <tuple>

#include "test/catch.h"
#include "test/llmc/cpu/operator_testing.h"

using namespace llmc_test;

namespace {

// y = alpha op(a) op(b) + beta y with element access given.
template <class A, class B>
Buffer<double> reference(const Buffer<double>& y, int64_t contraction, double alpha, double beta, A a, B b) {
    Buffer<double> expected = y;
    for (int64_t i = 0; i < y.rows(); i++) {
        for (int64_t j = 0; j < y.cols(); j++) {
            double sum = 0;
            for (int64_t k = 0; k < contraction; k++) sum += a(i, k) * b(k, j);
            expected(i, j) = alpha * sum + (beta == 0 ? 0 : beta * y(i, j));
        }
    }
    return expected;
}

template <class T, class From>
Buffer<T> converted(const Buffer<From>& from) {
    Buffer<T> to(from.rows(), from.cols(), 5);
    for (int64_t i = 0; i < from.rows(); i++) {
        for (int64_t j = 0; j < from.cols(); j++) to(i, j) = static_cast<T>(from(i, j));
    }
    return to;
}

}  // namespace

TEMPLATE_TEST_CASE("the three GEMMs are their definition in every shape", "[gemm]", float, double) {
    using T = TestType;
    const auto [m, k, n] = GENERATE(
        table<int, int, int>({{1, 1, 1}, {5, 7, 3}, {33, 64, 17}, {4, 0, 3}, {0, 3, 2}, {3, 2, 0}, {70, 130, 90}}));
    const auto [alpha, beta] = GENERATE(table<double, double>({{1.0, 0.0}, {0.5, 1.0}, {-2.0, 0.25}}));
    const cpu::Device device{GENERATE(1, 2)};
    const double tolerance =
        std::is_same_v<T, float> ? 1e-4 : 1e-11;  // 130 products of normals, alpha 2, a margin of 3
    auto y = random_buffer<double>(m, n, 1);
    if (beta == 0) y.fill(std::nan(""));  // must not be read
    const auto a = random_buffer<double>(m, k, 2), at = random_buffer<double>(k, m, 3);
    const auto b = random_buffer<double>(k, n, 4), bt = random_buffer<double>(n, k, 5);
    const T alpha_t = static_cast<T>(alpha), beta_t = static_cast<T>(beta);

    Buffer<T> nt = converted<T>(y), nn = nt, tn = nt;
    cpu::gemm_nt(device, nt.view(), converted<T>(a).view(), converted<T>(bt).view(), alpha_t, beta_t);
    cpu::gemm_nn(device, nn.view(), converted<T>(a).view(), converted<T>(b).view(), alpha_t, beta_t);
    cpu::gemm_tn(device, tn.view(), converted<T>(at).view(), converted<T>(b).view(), alpha_t, beta_t);

    const auto get = [](const Buffer<double>& from) { return [&from](int64_t i, int64_t j) { return from(i, j); }; };
    const auto transposed = [](const Buffer<double>& from) {
        return [&from](int64_t i, int64_t j) { return from(j, i); };
    };
    CHECK(largest_difference(converted<double>(nt), reference(y, k, alpha, beta, get(a), transposed(bt))) < tolerance);
    CHECK(largest_difference(converted<double>(nn), reference(y, k, alpha, beta, get(a), get(b))) < tolerance);
    CHECK(largest_difference(converted<double>(tn), reference(y, k, alpha, beta, transposed(at), get(b))) < tolerance);
    CHECK(nt.padding_untouched());
    CHECK(nn.padding_untouched());
    CHECK(tn.padding_untouched());
}

TEST_CASE("gemm gradients are the derivatives of gemm_nt", "[gemm]") {
    const cpu::Device device{2};
    auto x = random_buffer<double>(5, 7, 1), w = random_buffer<double>(4, 7, 2);
    const auto dy = random_buffer<double>(5, 4, 3);
    Buffer<double> y(5, 4), dx(5, 7), dw(4, 7);
    cpu::gemm_nn(device, dx.view(), dy.view(), w.view(), 0.5, 0.0);
    cpu::gemm_tn(device, dw.view(), dy.view(), x.view(), 0.5, 0.0);
    const auto loss = [&] {
        cpu::gemm_nt(device, y.view(), x.view(), w.view(), 0.5, 0.0);
        return inner_product(y, dy);
    };
    CHECK(gradient_error(x, dx, loss) < kGradientTolerance);
    CHECK(gradient_error(w, dw, loss) < kGradientTolerance);
}

TEST_CASE("a gemm leaves OpenMP's number of threads as it was", "[gemm]") {
    const int before = omp_get_max_threads();
    Buffer<float> y(2, 2), x(2, 2), w(2, 2);
    cpu::gemm_nt(cpu::Device{1}, y.view(), x.view(), w.view(), 1.0f, 0.0f);
    cpu::gemm_nt(cpu::Device{3}, y.view(), x.view(), w.view(), 1.0f, 0.0f);
    CHECK(omp_get_max_threads() == before);
}
