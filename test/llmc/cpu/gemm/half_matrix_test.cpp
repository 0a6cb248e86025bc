#include "llmc/cpu/gemm/half_matrix.h"

#include "test/catch.h"
#include "test/llmc/cpu/operator_testing.h"

using namespace llmc_test;

namespace {

struct Stored {
    Buffer<uint16_t> bits;
    Buffer<float> widened;

    Stored(DType dtype, int64_t rows, int64_t cols) : bits(rows, cols), widened(random_buffer<float>(rows, cols, 1)) {
        for (int64_t i = 0; i < rows; i++) {
            const auto row = reinterpret_cast<std::byte*>(bits.view().row(i));
            from_float(dtype, widened.view().row(i), row, cols);
            to_float(dtype, row, widened.view().row(i), cols);
        }
    }
};

}  // namespace

TEST_CASE("16-bit weights are looked up and multiplied as what they stand for", "[half_matrix]") {
    const DType dtype = GENERATE(DType::bf16, DType::f16);
    const int threads = GENERATE(1, 5);
    // Around the edges of blocks of 256 x 1024, and one or two rows, as in generation.
    const auto [n, in, out] = GENERATE(table<int, int, int>(
        {{1, 1, 1}, {1, 1100, 300}, {2, 1030, 257}, {7, 33, 600}, {130, 1030, 257}, {3, 5, 2100}}));
    const cpu::Device device{threads};
    Stored stored(dtype, out, in);
    const cpu::HalfMatrix w{dtype, stored.bits.view()};
    std::vector<float> workspace(static_cast<size_t>(cpu::half_gemm_workspace(device, dtype, out, in)));

    const auto x = random_buffer<float>(n, in, 2), dy = random_buffer<float>(n, out, 3);
    Buffer<float> y(n, out), dx(n, in), expected_y(n, out), expected_dx(n, in);
    y.fill(std::nanf(""));
    dx.fill(std::nanf(""));
    cpu::half_gemm_nt(device, y.view(), x.view(), w, 0, workspace);
    cpu::half_gemm_nn(device, dx.view(), dy.view(), w, workspace);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t o = 0; o < out; o++) {
            double sum = 0;
            for (int64_t k = 0; k < in; k++) sum += double{x(i, k)} * double{stored.widened(o, k)};
            expected_y(i, o) = static_cast<float>(sum);
        }
        for (int64_t k = 0; k < in; k++) {
            double sum = 0;
            for (int64_t o = 0; o < out; o++) sum += double{dy(i, o)} * double{stored.widened(o, k)};
            expected_dx(i, k) = static_cast<float>(sum);
        }
    }
    // Sums of up to 2100 products near 1, rounded by 2^-24 of partial sums near 50 each, which mostly cancel.
    CHECK(largest_difference(y, expected_y) < 2e-4);
    CHECK(largest_difference(dx, expected_dx) < 2e-4);
    CHECK(y.padding_untouched());
    cpu::half_gemm_nt(device, y.view(), x.view(), w, 0.5f, workspace);
    for (int64_t i = 0; i < n; i++)
        for (int64_t o = 0; o < out; o++) expected_y(i, o) *= 1.5f;
    CHECK(largest_difference(y, expected_y) < 3e-4);
    CHECK(dx.padding_untouched());

    const std::vector<int32_t> ids = {out - 1, 0, out / 2};
    Buffer<float> rows(3, in);
    cpu::half_embedding_forward(device, rows.view(), w, ids);
    int64_t wrong = 0;
    for (int64_t i = 0; i < 3; i++)
        for (int64_t k = 0; k < in; k++) wrong += rows(i, k) != stored.widened(ids[static_cast<size_t>(i)], k);
    CHECK(wrong == 0);
    CHECK_THROWS_WITH(cpu::half_embedding_forward(device, rows.view(), w, std::vector<int32_t>{0, out, 0}),
                      Catch::Matchers::ContainsSubstring("the embedding table has"));
}

TEST_CASE("products of 16-bit weights refuse too small a workspace", "[half_matrix]") {
    Stored stored(DType::bf16, 5, 4);
    Buffer<float> y(5, 5);
    CHECK_THROWS_WITH(cpu::half_gemm_nt(cpu::Device{2}, y.view(), random_buffer<float>(5, 4, 1).view(),
                                        {DType::bf16, stored.bits.view()}, 0, {}),
                      Catch::Matchers::ContainsSubstring("workspace"));
}
