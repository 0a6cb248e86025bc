// The rotation against its definition, and what the quantising operators make of it.
#include "llmc/cpu/hadamard.h"

#include <bit>
#include <cmath>

#include "llmc/cpu/gemm/int8_gemm.h"
#include "llmc/cpu/gemm/int8_ways.h"
#include "llmc/cpu/quantize.h"
#include "test/catch.h"
#include "test/llmc/cpu/operator_testing.h"

using namespace llmc_test;

namespace {

const cpu::Device kDevice{2};

// Element (i, j) of H: Sylvester's matrix has -1 where i and j have an odd number of ones in common.
double element(int64_t i, int64_t j, int64_t block) {
    if (block == 0) return i == j;
    if (i / block != j / block) return 0;
    const bool odd = std::popcount(static_cast<uint64_t>(i % block & j % block)) % 2 == 1;
    return (odd ? -1 : 1) / std::sqrt(static_cast<double>(block));
}

// m H, in fp64.
std::vector<double> rotated(const Buffer<float>& m, int64_t row, int64_t block) {
    const Matrix<const float> view = m.view();
    std::vector<double> product(static_cast<size_t>(view.cols));
    for (int64_t j = 0; j < view.cols; j++)
        for (int64_t i = 0; i < view.cols; i++) product[j] += static_cast<double>(view(row, i)) * element(i, j, block);
    return product;
}

double largest(const std::vector<double>& values) {
    double most = 0;
    for (double value : values) most = std::max(most, std::abs(value));
    return most;
}

// 6 levels of additions and a multiplication, each rounded by 2^-24 of what may be the largest partial sum.
constexpr double kRounding = 1e-6;

}  // namespace

TEST_CASE("the block is the largest power of two that divides the width, from 8 to 64", "[hadamard]") {
    const std::pair<int64_t, int64_t> blocks[] = {{576, 64}, {1536, 64}, {3072, 64},  {64, 64}, {96, 32},
                                                  {48, 16},  {1000, 8},  {8, 8},      {12, 0},  {4, 0},
                                                  {1, 0},    {0, 0},     {11008, 64}, {80, 16}};
    for (const auto& [width, block] : blocks) {
        CAPTURE(width);
        CHECK(hadamard_block(width) == block);
    }
}

TEST_CASE("a rotated row is the row times the Hadamard matrix", "[hadamard]") {
    const int64_t width = GENERATE(8, 24, 16, 48, 32, 160, 64, 576);
    const int64_t block = hadamard_block(width);
    CAPTURE(width, block);
    const auto x = random_buffer<float>(3, width, 1);
    for (int64_t n = 0; n < 3; n++) {
        std::vector<float> row(x.view().row(n), x.view().row(n) + width);
        cpu::hadamard_row(row.data(), width, block);
        const std::vector<double> expected = rotated(x, n, block);
        for (int64_t i = 0; i < width; i++) CHECK(std::abs(row[i] - expected[i]) < kRounding * largest(expected));
        cpu::hadamard_row(row.data(), width, block);  // H is its own inverse
        for (int64_t i = 0; i < width; i++) CHECK(std::abs(row[i] - x(n, i)) < kRounding * largest(expected));
        cpu::hadamard_row(row.data(), width, 0);
    }
}

TEST_CASE("NaN and infinity reach the whole block and no other", "[hadamard]") {
    std::vector<float> row(128, 1.0f);
    row[70] = GENERATE(std::nanf(""), INFINITY);
    cpu::hadamard_row(row.data(), 128, 64);
    for (int64_t i = 0; i < 64; i++) CHECK(std::isfinite(row[i]));
    for (int64_t i = 64; i < 128; i++) CHECK_FALSE(std::isfinite(row[i]));
}

TEST_CASE("rows are scaled or split, then rotated, then quantised by their own maximum", "[hadamard][quantize]") {
    const int64_t width = GENERATE(40, 53, 96, 192);
    const int64_t block = GENERATE(0, 1) * hadamard_block(width);
    const bool split = GENERATE(false, true);
    CAPTURE(width, block, split);
    const std::vector<int32_t> channels{0, 11, 12, static_cast<int32_t>(width) - 1};
    const std::vector<float> s{3.0f, 1.0f, 7.0f, 1.5f};
    auto x = random_buffer<float>(5, width, 1);
    for (int64_t n = 0; n < 5; n++) x(n, 11) *= 40;
    Buffer<int8_t> q(5, width);
    Buffer<float> outliers(5, 4);
    std::vector<float> scale(5);
    cpu::quantize_rows(kDevice, q.view(), scale.data(), outliers.view(), x.view(),
                       {channels, split ? nullptr : s.data(), block});
    Buffer<float> xh = x;
    for (int64_t n = 0; n < 5; n++) {
        for (int64_t j = 0; j < 4; j++) {
            CHECK(outliers(n, j) == (split ? x(n, channels[j]) : x(n, channels[j]) / s[j]));
            xh(n, channels[j]) = split ? 0 : outliers(n, j);
        }
    }
    for (int64_t n = 0; n < 5; n++) {
        const std::vector<double> v = rotated(xh, n, block);
        CHECK(scale[n] == Approx(largest(v) / 127).epsilon(kRounding));
        // Half a step, and what the rounding of v adds to it: 127 steps of 1e-6.
        for (int64_t i = 0; i < width; i++) CHECK(std::abs(v[i] / scale[n] - q(n, i)) < 0.5 + 2e-4);
    }
    CHECK(q.padding_untouched());
    CHECK(outliers.padding_untouched());
}

TEST_CASE("the product of rotated rows and rotated weights is that of the plain ones", "[hadamard][int8_gemm]") {
    const int n = 7, out = 33, in = GENERATE(96, 128);
    const int64_t block = hadamard_block(in);
    const auto x = random_buffer<float>(n, in, 1), w = random_buffer<float>(out, in, 2);
    Buffer<int8_t> xq(n, in), wq(out, in);
    Buffer<float> y(n, out);
    std::vector<float> row_scale(n), col_scale(out);
    std::vector<int32_t> workspace(cpu::int8_gemm_workspace(kDevice));
    cpu::quantize_rows(kDevice, xq.view(), row_scale.data(), {}, x.view(), {.rotation = block});
    cpu::quantize_weight(kDevice, wq.view(), col_scale.data(), w.view(), block);
    cpu::int8_gemm_nt(kDevice, y.view(), xq.view(), row_scale.data(), wq.view(), col_scale.data(), nullptr, {}, {},
                      workspace);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t o = 0; o < out; o++) {
            double exact = 0;
            for (int64_t k = 0; k < in; k++) exact += static_cast<double>(x(i, k)) * static_cast<double>(w(o, k));
            // Roundings of up to half a step in either operand, as a random walk of `in` terms: 5 deviations.
            const double step = row_scale[i] * col_scale[o] * 127 / 2.5;  // a typical element is 2.5 below the largest
            CHECK(std::abs(y(i, o) - exact) < 5 * std::sqrt(2.0 * in / 12) * step);
        }
    }
}

TEST_CASE("every way of the int8 GEMM undoes the rotation of the weight", "[hadamard][int8_gemm]") {
    const auto [n, in, out] = GENERATE(table<int, int, int>({{1, 64, 5}, {19, 96, 70}, {600, 192, 33}, {7, 1000, 3}}));
    const int64_t block = hadamard_block(in);
    const auto gq = random_int8(n, out, 1), wq = random_int8(out, in, 2);
    const auto row_scale = random_vector<float>(n, 3);
    std::vector<cpu::Int8Gemm> ways = cpu::int8_gemms();
#ifdef __x86_64__
    if (cpu::Avx2::is_supported()) ways.push_back({cpu::panels::gemm<cpu::Avx2>, cpu::panels::kWorkspace<cpu::Avx2>});
#endif
    for (const cpu::Int8Gemm& way : ways) {
        std::vector<int32_t> workspace(static_cast<size_t>(kDevice.threads * way.workspace));
        Buffer<float> plain(n, in), turned(n, in);
        for (const auto& [y, rotation] : {std::pair(&plain, int64_t{0}), std::pair(&turned, block)})
            way.multiply(kDevice, y->view(), gq.view(), wq.view(), false, row_scale.data(), nullptr, nullptr, {},
                         rotation, workspace);
        for (int64_t i = 0; i < n; i++) cpu::hadamard_row(plain.view().row(i), in, block);
        CHECK(turned == plain);
    }
}

TEST_CASE("the dequantised GEMM undoes the rotation of the weight", "[hadamard][int8_gemm]") {
    const int n = 6, out = 300, in = 48;
    const int64_t block = hadamard_block(in);
    const auto dy = random_buffer<float>(n, out, 1);
    const auto wq = random_int8(out, in, 2);
    const auto col_scale = random_vector<float>(out, 3, 0.01);
    std::vector<float> workspace(cpu::dequantized_gemm_workspace(kDevice, out, in));
    Buffer<float> plain(n, in), turned(n, in);
    cpu::dequantized_gemm_nn(kDevice, plain.view(), dy.view(), wq.view(), col_scale.data(), 0, workspace);
    cpu::dequantized_gemm_nn(kDevice, turned.view(), dy.view(), wq.view(), col_scale.data(), block, workspace);
    for (int64_t i = 0; i < n; i++) {
        const std::vector<double> expected = rotated(plain, i, block);
        // Either sums 300 terms in fp32, in blocks whose order differs.
        for (int64_t k = 0; k < in; k++) CHECK(std::abs(turned(i, k) - expected[k]) < 1e-5 * largest(expected));
    }
}
