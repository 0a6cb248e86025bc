#include "llmc/cpu/gemm/int8_gemm.h"

#include <tuple>

#include "llmc/core/dtype.h"
#include "llmc/core/integers.h"
#include "llmc/cpu/gemm/gemm.h"
#include "llmc/cpu/gemm/int8_ways.h"
#include "test/catch.h"
#include "test/llmc/cpu/operator_testing.h"

using namespace llmc_test;

namespace {

// All ways that this processor has, including those it does not choose.
std::vector<cpu::Int8Gemm> int8_gemms() {
    std::vector<cpu::Int8Gemm> all = cpu::int8_gemms();
#ifdef __x86_64__
    if (cpu::Avx2::is_supported()) all.push_back({cpu::panels::gemm<cpu::Avx2>, cpu::panels::kWorkspace<cpu::Avx2>});
#endif
    return all;
}

}  // namespace

TEST_CASE("int8 products are exact in every shape", "[int8_gemm]") {
    const auto [n, in, out] = GENERATE(table<int, int, int>({{1, 1, 1},
                                                             {1, 64, 33},
                                                             {5, 1, 7},
                                                             {17, 31, 1},
                                                             {16, 64, 48},
                                                             {300, 67, 270},
                                                             {3, 1030, 515},
                                                             {130, 129, 131}}));
    const auto transpose = GENERATE(true, false);
    const auto product = GENERATE(cpu::int8_product(), cpu::widening_int8_product);
    const auto a = random_int8(n, in, 1);
    const auto b = transpose ? random_int8(out, in, 2) : random_int8(in, out, 2);
    Buffer<int32_t> c(n, out);
    product(c.view(), a.view(), b.view(), transpose);
    int64_t wrong = 0;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < out; j++) {
            int64_t sum = 0;
            for (int64_t k = 0; k < in; k++) sum += int64_t{a(i, k)} * (transpose ? b(j, k) : b(k, j));
            wrong += c(i, j) != sum;
        }
    }
    CHECK(wrong == 0);
    CHECK(c.padding_untouched());
}

TEST_CASE("int8 products of the largest magnitudes are exact on any processor", "[int8_gemm]") {
    // Without VNNI, oneDNN sums pairs of such products in int16, which saturates.
    const int sign = GENERATE(1, -1), depth = GENERATE(1, 2, 3, 64, 577, 4096);
    const bool transpose = GENERATE(true, false);
    const auto product = GENERATE(cpu::int8_product(), cpu::widening_int8_product);
    Buffer<int8_t> a(9, depth), b(transpose ? 17 : depth, transpose ? depth : 17);
    a.fill(127);
    b.fill(static_cast<int8_t>(sign * 127));
    Buffer<int32_t> c(9, 17);
    product(c.view(), a.view(), b.view(), transpose);
    int64_t wrong = 0;
    for (int64_t i = 0; i < 9; i++) {
        for (int64_t j = 0; j < 17; j++) wrong += c(i, j) != sign * 127 * 127 * depth;
    }
    CHECK(wrong == 0);
}

TEST_CASE("int8 GEMMs of the largest magnitudes are exact", "[int8_gemm]") {
    const int sign = GENERATE(1, -1), depth = GENERATE(1, 64, 577, 9000), n = GENERATE(3, 9);
    const bool transpose = GENERATE(true, false);
    const auto gemm = GENERATE(from_range(int8_gemms()));
    const cpu::Device device{1};
    Buffer<int8_t> a(n, depth), b(transpose ? 17 : depth, transpose ? depth : 17);
    a.fill(-128);
    b.fill(static_cast<int8_t>(sign * 127));
    Buffer<float> y(n, 17);
    std::vector<int32_t> workspace(static_cast<size_t>(device.threads * gemm.workspace));
    const std::vector<float> ones(n, 1.0f);
    gemm.multiply(device, y.view(), a.view(), b.view(), transpose, ones.data(), nullptr, nullptr, {}, 0, workspace);
    int64_t wrong = 0;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < 17; j++) wrong += y(i, j) != static_cast<float>(-128 * 127 * sign * depth);
    }
    CHECK(wrong == 0);
}

TEST_CASE("int8 GEMMs dequantise by row, by column, and add the bias", "[int8_gemm]") {
    // Around the edges of the sums in registers, 12 x 32 or 4 x 16, of panels of 64 columns and 2048 or 4096 terms and
    // of chunks of 512 rows.
    const auto [n, in, out] = GENERATE(table<int, int, int>({{1, 1, 1},
                                                             {1, 70, 600},
                                                             {4, 200, 7},
                                                             {5, 3, 33},
                                                             {13, 64, 31},
                                                             {23, 66, 64},
                                                             {515, 33, 1},
                                                             {270, 65, 530},
                                                             {14, 4097, 70},
                                                             {8, 0, 5},
                                                             {514, 4100, 66}}));
    const bool transpose = GENERATE(true, false);
    const cpu::Device device{2};
    const auto a = random_int8(n, in, 1), b = transpose ? random_int8(out, in, 2) : random_int8(in, out, 2);
    const auto row_scale = random_vector<float>(n, 3), col_scale = random_vector<float>(out, 4),
               bias = random_vector<float>(out, 5);
    Buffer<double> scaled(n, out);  // by row
    for (int64_t i = 0; i < n; i++) {
        for (int64_t o = 0; o < out; o++) {
            int64_t sum = 0;
            for (int64_t k = 0; k < in; k++) sum += int64_t{a(i, k)} * (transpose ? b(o, k) : b(k, o));
            scaled(i, o) = static_cast<double>(row_scale[i]) * static_cast<double>(sum);
        }
    }
    const std::vector<cpu::Int8Gemm> ways = int8_gemms();
    for (size_t way = 0; way < ways.size(); way++) {
        for (const bool scale_columns : {true, false}) {
            for (const bool add_bias : {true, false}) {
                std::vector<int32_t> workspace(static_cast<size_t>(device.threads * ways[way].workspace));
                Buffer<float> y(n, out);
                y.fill(std::nanf(""));
                ways[way].multiply(device, y.view(), a.view(), b.view(), transpose, row_scale.data(),
                                   scale_columns ? col_scale.data() : nullptr, add_bias ? bias.data() : nullptr, {}, 0,
                                   workspace);
                double worst = 0;
                for (int64_t i = 0; i < n; i++) {
                    for (int64_t o = 0; o < out; o++) {
                        const double product = scaled(i, o) * (scale_columns ? static_cast<double>(col_scale[o]) : 1.0);
                        const double expected = product + (add_bias ? static_cast<double>(bias[o]) : 0.0);
                        const double error =
                            std::abs(static_cast<double>(y(i, o)) - expected) / (std::abs(product) + 1);
                        if (!(error <= worst)) worst = error;
                    }
                }
                INFO("way " << way << ", by column " << scale_columns << ", bias " << add_bias);
                CHECK(worst < 4e-7);  // the integer is exact; its conversion, two products and a sum round by 2^-24
                CHECK(y.padding_untouched());
            }
        }
    }
}

TEST_CASE("the forward and the backward int8 GEMM take the weight as it lies", "[int8_gemm]") {
    const int n = 6, in = 40, out = 70;
    const cpu::Device device{2};
    const auto xq = random_int8(n, in, 1), gq = random_int8(n, out, 2), wq = random_int8(out, in, 3);
    const auto row_scale = random_vector<float>(n, 4), col_scale = random_vector<float>(out, 5),
               bias = random_vector<float>(out, 6);
    std::vector<int32_t> workspace(cpu::int8_gemm_workspace(device));
    Buffer<float> y(n, out), dx(n, in), expected_y(n, out), expected_dx(n, in);
    cpu::int8_gemm_nt(device, y.view(), xq.view(), row_scale.data(), wq.view(), col_scale.data(), bias.data(), {}, {},
                      workspace);
    cpu::int8_gemm_nn(device, dx.view(), gq.view(), row_scale.data(), wq.view(), 0, workspace);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t o = 0; o < out; o++) {
            int32_t sum = 0;
            for (int64_t k = 0; k < in; k++) sum += xq(i, k) * wq(o, k);
            expected_y(i, o) = row_scale[i] * col_scale[o] * static_cast<float>(sum) + bias[o];
        }
        for (int64_t k = 0; k < in; k++) {
            int32_t sum = 0;
            for (int64_t o = 0; o < out; o++) sum += gq(i, o) * wq(o, k);
            expected_dx(i, k) = row_scale[i] * static_cast<float>(sum);
        }
    }
    CHECK(largest_difference(y, expected_y) < 1e-2);  // of numbers up to 1e5, rounded by 2^-24
    CHECK(largest_difference(dx, expected_dx) < 1e-2);
}

TEST_CASE("the forward int8 GEMM adds the product of z and wz, whose rows may be longer", "[int8_gemm]") {
    // More than 256 columns are too many for the registers; 516 rows leave a few to the end.
    const auto [n, in, out, columns] = GENERATE(table<int, int, int, int>({{1, 70, 67, 9},
                                                                           {4, 20, 64, 16},
                                                                           {33, 40, 135, 56},
                                                                           {8, 0, 5, 8},
                                                                           {7, 5000, 33, 255},
                                                                           {30, 33, 70, 256},
                                                                           {30, 33, 70, 257},
                                                                           {516, 33, 70, 21}}));
    cpu::Device device{2};
    device.products = GENERATE(cpu::Products::fp32, cpu::Products::bf16);
    const bool rounds = device.products == cpu::Products::bf16 && n > cpu::kFloatRows;
    const auto operand = [&](float value) { return double{rounds ? bf16_to_float(float_to_bf16(value)) : value}; };
    const auto xq = random_int8(n, in, 1), wq = random_int8(out, in, 2);
    const auto row_scale = random_vector<float>(n, 3), col_scale = random_vector<float>(out, 4),
               bias = random_vector<float>(out, 5);
    const auto z = random_buffer<float>(n, columns + 3, 6), wz = random_buffer<float>(out, columns + 3, 7);
    std::vector<int32_t> workspace(cpu::int8_gemm_workspace(device));
    Buffer<float> y(n, out), expected(n, out);
    y.fill(std::nanf(""));
    cpu::int8_gemm_nt(device, y.view(), xq.view(), row_scale.data(), wq.view(), col_scale.data(), bias.data(),
                      z.view().columns(0, columns), wz.view().columns(0, columns), workspace);
    cpu::int8_gemm_nt(device, expected.view(), xq.view(), row_scale.data(), wq.view(), col_scale.data(), bias.data(),
                      {}, {}, workspace);
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t o = 0; o < out; o++) {
            double sum = expected(i, o), magnitude = std::abs(sum) + 1;
            for (int64_t k = 0; k < columns; k++) {
                const double term = operand(z(i, k)) * operand(wz(o, k));
                sum += term;
                magnitude += std::abs(term);
            }
            const double error = std::abs(static_cast<double>(y(i, o)) - sum) / magnitude;
            if (!(error <= worst)) worst = error;
        }
    }
    CHECK(worst < (columns + 2) * 0x1p-24);  // one rounding each, of at most 2^-24
    CHECK(y.padding_untouched());
}

TEST_CASE("a joint product of bf16 numbers does not depend on the number of threads", "[int8_gemm]") {
    const auto xq = random_int8(260, 64, 1), wq = random_int8(256, 64, 2);
    const auto row_scale = random_vector<float>(260, 3), col_scale = random_vector<float>(256, 4);
    const auto z = random_buffer<float>(260, 33, 5), wz = random_buffer<float>(256, 33, 6);
    Buffer<float> one(260, 256), four(260, 256);
    for (auto [threads, y] : {std::pair(1, &one), std::pair(4, &four)}) {
        cpu::Device device{threads};
        device.products = cpu::Products::bf16;
        std::vector<int32_t> workspace(static_cast<size_t>(cpu::int8_gemm_workspace(device)));
        cpu::int8_gemm_nt(device, y->view(), xq.view(), row_scale.data(), wq.view(), col_scale.data(), nullptr,
                          z.view(), wz.view(), workspace);
    }
    CHECK(one == four);
}

TEST_CASE("int8 GEMMs do not depend on the number of threads", "[int8_gemm]") {
    // With four threads the last four rows are multiplied as few rows, with one thread they are not.
    const auto xq = random_int8(260, 64, 1), wq = random_int8(256, 64, 2);
    const auto row_scale = random_vector<float>(260, 3), col_scale = random_vector<float>(256, 4),
               bias = random_vector<float>(256, 5);
    const auto gemm = GENERATE(from_range(int8_gemms()));
    Buffer<float> one(260, 256), four(260, 256);
    std::vector<int32_t> workspace(static_cast<size_t>(4 * gemm.workspace));
    for (auto [threads, y] : {std::pair(1, &one), std::pair(4, &four)})
        gemm.multiply(cpu::Device{threads}, y->view(), xq.view(), wq.view(), true, row_scale.data(), col_scale.data(),
                      bias.data(), {}, 0, workspace);
    CHECK(one == four);
}

TEST_CASE("int8 GEMMs of no rows or no columns do nothing", "[int8_gemm]") {
    const cpu::Device device{2};
    std::vector<int32_t> workspace(cpu::int8_gemm_workspace(device));
    Buffer<int8_t> none(0, 5), w(3, 5);
    Buffer<float> y(0, 3);
    const std::vector<float> scale(3, 1.0f);
    cpu::int8_gemm_nt(device, y.view(), none.view(), nullptr, w.view(), scale.data(), nullptr, {}, {}, workspace);
    cpu::int8_gemm_nn(device, Buffer<float>(0, 5).view(), Buffer<int8_t>(0, 3).view(), nullptr, w.view(), 0, workspace);
    CHECK(y.padding_untouched());
}

TEST_CASE("int8 GEMMs refuse too small a workspace", "[int8_gemm]") {
    const auto x = random_int8(1, 5, 1), w = random_int8(3, 5, 2);
    Buffer<float> y(1, 3);
    const std::vector<float> scale(3, 1.0f);
    CHECK_THROWS_WITH(cpu::int8_gemm_nt(cpu::Device{2}, y.view(), x.view(), scale.data(), w.view(), scale.data(),
                                        nullptr, {}, {}, {}),
                      Catch::Matchers::ContainsSubstring("workspace"));
    CHECK_THROWS_WITH(
        cpu::dequantized_gemm_nn(cpu::Device{2}, Buffer<float>(1, 5).view(), y.view(), w.view(), scale.data(), 0, {}),
        Catch::Matchers::ContainsSubstring("workspace"));
}

TEST_CASE("the int8 GEMM's tiles cover y, fit the workspace and give every thread about as many", "[int8_gemm]") {
    const int threads = GENERATE(1, 2, 3, 16, 64);
    const auto [rows, cols] =
        GENERATE(table<int64_t, int64_t>({{1, 1}, {1, 2560}, {512, 2560}, {512, 576}, {100000, 960}, {513, 513}}));
    const cpu::Int8Tiling tiling(cpu::Device{threads}, rows, cols);
    CHECK(tiling.rows > 0);
    CHECK(tiling.cols > 0);
    CHECK(tiling.rows <= cpu::Int8Tiling::kLargest);
    CHECK(tiling.cols <= cpu::Int8Tiling::kLargest);
    const int64_t tiles = ceil_div(rows, tiling.rows) * ceil_div(cols, tiling.cols);
    if (rows * cols >= threads * 128 * 128) CHECK(tiles >= threads);
}

TEST_CASE("the dequantised GEMM is dy times the dequantised weight", "[int8_gemm]") {
    const auto [n, out, in] = GENERATE(table<int, int, int>({{1, 1, 1}, {0, 5, 3}, {6, 256, 9}, {33, 700, 41}}));
    const cpu::Device device{2};
    const auto dy = random_buffer<float>(n, out, 1);
    const auto wq = random_int8(out, in, 2);
    const auto col_scale = random_vector<float>(out, 3, 0.01);
    std::vector<float> workspace(cpu::dequantized_gemm_workspace(device, out, in));
    Buffer<float> y(n, in), expected(n, in);
    y.fill(std::nanf(""));
    cpu::dequantized_gemm_nn(device, y.view(), dy.view(), wq.view(), col_scale.data(), 0, workspace);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < in; j++) {
            double sum = 0;
            for (int64_t o = 0; o < out; o++) {
                sum +=
                    static_cast<double>(dy(i, o)) * static_cast<double>(col_scale[o]) * static_cast<double>(wq(o, j));
            }
            expected(i, j) = static_cast<float>(sum);
        }
    }
    CHECK(largest_difference(y, expected) <
          1e-4);  // sums of up to 700 terms near 1, each rounded by 2^-24 of the sum near 30
    CHECK(y.padding_untouched());
}
