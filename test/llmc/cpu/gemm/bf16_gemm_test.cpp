#include "llmc/cpu/gemm/bf16_gemm.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <type_traits>

#include "llmc/cpu/gemm/bf16_avx512.h"
#include "llmc/cpu/gemm/bf16_tiles.h"
#include "llmc/cpu/gemm/half_matrix.h"
#include "test/catch.h"
#include "test/llmc/cpu/operator_testing.h"

using namespace llmc_test;
using cpu::bf16::Operand;

namespace {

struct Shape {
    int64_t m, n, k;
};

// Around the edges of the sums in registers (12 x 32, or 16), of panels of 32 columns, tiles of 256, blocks of 48 rows
// and 512 terms, and of pairs and vectors.
const Shape kShapes[] = {{1, 1, 1},    {1, 300, 64},  {2, 16, 3},    {13, 17, 31},  {48, 32, 33},
                         {50, 33, 64}, {97, 70, 513}, {12, 257, 65}, {300, 5, 514}, {49, 270, 520}};

Buffer<uint16_t> rounded(const Buffer<float>& values) {
    Buffer<uint16_t> bits(values.rows(), values.cols());
    for (int64_t i = 0; i < values.rows(); i++)
        for (int64_t j = 0; j < values.cols(); j++) bits(i, j) = float_to_bf16(values(i, j));
    return bits;
}

Buffer<float> widened(const Buffer<uint16_t>& bits) {
    Buffer<float> values(bits.rows(), bits.cols());
    for (int64_t i = 0; i < bits.rows(); i++)
        for (int64_t j = 0; j < bits.cols(); j++) values(i, j) = bf16_to_float(bits(i, j));
    return values;
}

// The largest error of y, in units of what its float sums may lose: products of bf16 numbers are exact in a float, and
// every addition rounds by 2^-24 of at most the sum of magnitudes.
double rounding_errors(const Buffer<float>& y, const Buffer<float>& before, const Buffer<float>& a, bool transpose_a,
                       const Buffer<float>& b, bool transpose_b, int64_t contraction, double alpha, double beta) {
    double worst = 0;
    for (int64_t i = 0; i < y.rows(); i++) {
        for (int64_t j = 0; j < y.cols(); j++) {
            double sum = beta == 0 ? 0 : beta * before(i, j), magnitude = std::abs(sum);
            for (int64_t k = 0; k < contraction; k++) {
                const double term =
                    alpha * double{transpose_a ? a(k, i) : a(i, k)} * double{transpose_b ? b(j, k) : b(k, j)};
                sum += term;
                magnitude += std::abs(term);
            }
            const double unit = magnitude * static_cast<double>(contraction + 3) * 0x1p-24;
            const double error = std::abs(double{y(i, j)} - sum) / unit;
            if (!(error <= worst)) worst = error;
        }
    }
    return worst;
}

#ifdef __x86_64__
using Kernels = std::tuple<cpu::bf16::Portable, cpu::bf16::Avx512>;
#else
using Kernels = std::tuple<cpu::bf16::Portable>;
#endif

template <class Kernel>
bool runs_here() {
#ifdef __x86_64__
    if constexpr (std::is_same_v<Kernel, cpu::bf16::Avx512>) {
        if (!cpu::has_bf16_instructions()) WARN("skipped: this processor has no AVX512_BF16");
        return cpu::has_bf16_instructions();
    }
#endif
    return true;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("bf16 GEMMs are the product of their rounded operands in every layout", "[bf16_gemm]",
                        Kernels) {
    if (!runs_here<TestType>()) return;
    const bool transpose_a = GENERATE(false, true), transpose_b = GENERATE(false, true);
    const auto [alpha, beta] = GENERATE(table<float, float>({{1.0f, 0.0f}, {0.5f, 1.0f}, {-2.0f, 0.25f}}));
    const cpu::Device device{GENERATE(1, 3)};
    for (const auto& [m, n, k] : kShapes) {
        CAPTURE(m, n, k);
        const auto a = transpose_a ? random_buffer<float>(k, m, 1) : random_buffer<float>(m, k, 1);
        const auto b = transpose_b ? random_buffer<float>(n, k, 2) : random_buffer<float>(k, n, 2);
        const Buffer<uint16_t> a_bits = rounded(a), b_bits = rounded(b);
        Buffer<float> before = random_buffer<float>(m, n, 3);
        if (beta == 0) before.fill(std::nanf(""));  // must not be read
        Buffer<float> y = before, y_of_bits = before;
        const Operand<float> left{a.view().data, a.view().stride, !transpose_a};
        const Operand<float> right{b.view().data, b.view().stride, transpose_b};
        const Operand<uint16_t> right_bits{b_bits.view().data, b_bits.view().stride, transpose_b};
        cpu::bf16::gemm<TestType>(device, y.view(), left, right, k, alpha, beta);
        cpu::bf16::gemm<TestType>(device, y_of_bits.view(), left, right_bits, k, alpha, beta);
        CHECK(rounding_errors(y, before, widened(a_bits), transpose_a, widened(b_bits), transpose_b, k, alpha, beta) <
              1);
        CHECK(y.padding_untouched());
        CHECK(y == y_of_bits);
    }
}

TEMPLATE_LIST_TEST_CASE("bf16 GEMMs do not depend on the number of threads, and let NaN through", "[bf16_gemm]",
                        Kernels) {
    if (!runs_here<TestType>()) return;
    auto a = random_buffer<float>(130, 130, 1);
    const auto b = random_buffer<float>(130, 130, 2);
    a(77, 65) = std::nanf("");
    // Tiles of 130 columns end where panels do not, in other places with other numbers of threads.
    const bool along_k = GENERATE(true, false);
    const auto multiply = [&](int threads) {
        Buffer<float> y = random_buffer<float>(130, 130, 3);
        const Operand<float> left{a.view().data, a.view().stride, along_k},
            right{b.view().data, b.view().stride, !along_k};
        cpu::bf16::gemm<TestType>(cpu::Device{threads}, y.view(), left, right, 130, 0.7f, 0.27f);
        return y;
    };
    const Buffer<float> one = multiply(1), seven = multiply(7);
    int64_t wrong = 0, nan = 0;
    for (int64_t i = 0; i < one.rows(); i++) {
        for (int64_t j = 0; j < one.cols(); j++) {
            nan += std::isnan(one(i, j));
            wrong += std::isnan(one(i, j)) != std::isnan(seven(i, j)) ||
                     (!std::isnan(one(i, j)) && one(i, j) != seven(i, j));
        }
    }
    CHECK(nan == 130);  // a row
    CHECK(wrong == 0);
}

TEMPLATE_LIST_TEST_CASE("bf16 GEMMs round to nearest, ties to even", "[bf16_gemm]", Kernels) {
    if (!runs_here<TestType>()) return;
    const float step = 0x1p-7f;  // between bf16 numbers from 1 to 2
    const std::vector<std::pair<float, float>> cases = {{1 + step / 2, 1},
                                                        {1 + step / 2 + 0x1p-20f, 1 + step},
                                                        {1 + 3 * step / 2, 1 + 2 * step},
                                                        {-1 - step / 2, -1},
                                                        {1 + step / 2 - 0x1p-20f, 1},
                                                        {3.3e38f, 0x1.f0p127f},
                                                        {3.4e38f, INFINITY},
                                                        {-0.0f, 0},
                                                        {0x1p-100f * (1 + step), 0x1p-100f * (1 + step)}};
    const float one = 1;
    for (const auto& [value, expected] : cases) {
        CAPTURE(value);
        float y = -1;
        cpu::bf16::gemm<TestType>(cpu::Device{1}, Matrix<float>(&y, 1, 1), Operand<float>{&value, 1, true},
                                  Operand<float>{&one, 1, false}, 1, 1, 0);
        CHECK(y == expected);
        cpu::bf16::gemm<TestType>(cpu::Device{1}, Matrix<float>(&y, 1, 1), Operand<float>{&one, 1, false},
                                  Operand<float>{&value, 1, true}, 1, 1, 0);
        CHECK(y == expected);
    }
}

TEST_CASE("a device's products are bf16 in GEMMs of floats and of 16-bit weights, or in none", "[bf16_gemm]") {
    const auto x = random_buffer<float>(33, 70, 1), w = random_buffer<float>(50, 70, 2);
    const Buffer<float> x16 = widened(rounded(x)), w16 = widened(rounded(w));
    const Buffer<float> nothing(33, 50);
    cpu::Device exact{2}, device{2};
    device.products = cpu::Products::bf16;
    CHECK(std::string(exact.compute_name()) == "fp32");
    CHECK(std::string(device.compute_name()) == "bf16");
    CHECK(device.alone().threads == 1);
    CHECK(device.alone().products == cpu::Products::bf16);

    Buffer<float> y(33, 50);
    cpu::gemm_nt(device, y.view(), x.view(), w.view(), 1.0f, 0.0f);
    CHECK(rounding_errors(y, nothing, x16, false, w16, true, 70, 1, 0) < 1);
    cpu::gemm_nt(exact, y.view(), x.view(), w.view(), 1.0f, 0.0f);
    CHECK(rounding_errors(y, nothing, x, false, w, true, 70, 1, 0) < 1);
    CHECK(rounding_errors(y, nothing, x16, false, w16, true, 70, 1, 0) > 100);

    // The other two layouts, with a sum to add to.
    const auto dy = random_buffer<float>(33, 50, 3);
    const Buffer<float> dy16 = widened(rounded(dy));
    const Buffer<float> dx_before = random_buffer<float>(33, 70, 4), dw_before = random_buffer<float>(50, 70, 5);
    Buffer<float> dx = dx_before, dw = dw_before;
    cpu::gemm_nn(device, dx.view(), dy.view(), w.view(), 0.3f, 0.7f);
    cpu::gemm_tn(device, dw.view(), dy.view(), x.view(), -2.0f, 1.0f);
    CHECK(rounding_errors(dx, dx_before, dy16, false, w16, false, 50, double{0.3f}, double{0.7f}) < 1);
    CHECK(rounding_errors(dw, dw_before, dy16, true, x16, false, 33, -2, 1) < 1);

    // f16 weights are rounded once more; bf16 ones are used as they are.
    for (const DType dtype : {DType::bf16, DType::f16}) {
        CAPTURE(name_of(dtype));
        Buffer<uint16_t> bits(50, 70);
        for (int64_t i = 0; i < 50; i++)
            from_float(dtype, w.view().row(i), reinterpret_cast<std::byte*>(bits.view().row(i)), 70);
        Buffer<float> stored(50, 70);
        const cpu::HalfMatrix half{dtype, bits.view()};
        for (int64_t i = 0; i < 50; i++) half.widen(i, 0, stored.view().row(i), 70);
        std::vector<float> workspace(static_cast<size_t>(cpu::half_gemm_workspace(exact, dtype, 50, 70)));
        CHECK((cpu::half_gemm_workspace(device, dtype, 50, 70) == 0) == (dtype == DType::bf16));
        cpu::half_gemm_nt(device, y.view(), x.view(), half, 0, workspace);
        CHECK(rounding_errors(y, nothing, x16, false, widened(rounded(stored)), true, 70, 1, 0) < 1);
        cpu::half_gemm_nn(device, dx.view(), dy.view(), half, workspace);
        CHECK(rounding_errors(dx, dx_before, dy16, false, widened(rounded(stored)), false, 50, 1, 0) < 1);
        cpu::half_gemm_nt(exact, y.view(), x.view(), half, 0, workspace);
        CHECK(rounding_errors(y, nothing, x, false, stored, true, 70, 1, 0) < 1);

        // One row, and two with weights that are widened anyway, are sums of floats.
        for (const int64_t rows : {1, 2, 3}) {
            CAPTURE(rows);
            Buffer<float> few(rows, 50), few_x(rows, 70);
            for (int64_t i = 0; i < rows; i++) std::copy_n(x.view().row(i), 70, few_x.view().row(i));
            cpu::half_gemm_nt(device, few.view(), few_x.view(), half, 0, workspace);
            const bool rounds = rows > (dtype == DType::bf16 ? 1 : 2);
            const Buffer<float> a = rounds ? widened(rounded(few_x)) : few_x;
            const Buffer<float> b = rounds ? widened(rounded(stored)) : stored;
            CHECK(rounding_errors(few, Buffer<float>(rows, 50), a, false, b, true, 70, 1, 0) < 1);
        }
    }
}

TEST_CASE("a bf16 GEMM of no terms scales what it adds to", "[bf16_gemm]") {
    cpu::Device device{2};
    device.products = cpu::Products::bf16;
    Buffer<float> y = random_buffer<float>(3, 4, 1);
    const Buffer<float> before = y;
    cpu::gemm_nt(device, y.view(), Buffer<float>(3, 0).view(), Buffer<float>(4, 0).view(), 1.0f, 0.5f);
    for (int64_t i = 0; i < 3; i++)
        for (int64_t j = 0; j < 4; j++) CHECK(y(i, j) == 0.5f * before(i, j));
}

TEST_CASE("a bf16 GEMM of nothing does nothing, and so few rows as generation has are multiplied as floats",
          "[bf16_gemm]") {
    cpu::Device device{2};
    device.products = cpu::Products::bf16;
    Buffer<float> none(0, 4), no_columns(3, 0);
    const auto a = random_buffer<float>(3, 5, 1), w = random_buffer<float>(4, 5, 2);
    cpu::bf16_gemm(device, 'N', 'T', none.view(), Buffer<float>(0, 5).view(), w.view(), 5, 1, 0);
    cpu::bf16_gemm(device, 'N', 'T', no_columns.view(), a.view(), Buffer<float>(0, 5).view(), 5, 1, 0);
    Buffer<float> two(2, 4);
    cpu::gemm_nt(device, two.view(), a.view().first_rows(2), w.view(), 1.0f, 0.0f);
    CHECK(rounding_errors(two, two, a, false, w, true, 5, 1, 0) < 1);
}
