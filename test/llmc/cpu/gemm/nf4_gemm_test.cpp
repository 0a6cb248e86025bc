#include "llmc/cpu/gemm/nf4_gemm.h"

#include "llmc/cpu/nf4.h"
#include "test/catch.h"
#include "test/llmc/cpu/nf4.h"

using namespace llmc_test;

TEST_CASE("a weight gets the nearest of sixteen levels of its block", "[nf4]") {
    const cpu::Device device{2};
    // 64 and 70 columns: whole blocks, and one that is shorter; 7: half a byte at the end.
    const int64_t cols = GENERATE(64, 70, 7, 1);
    const auto w = random_buffer<float>(5, cols, 1, 0.02);
    Buffer<uint8_t> codes(5, nf4_bytes(cols));
    std::vector<float> maxima(static_cast<size_t>(5 * nf4_blocks(cols)));
    cpu::quantize_nf4(device, codes.view(), maxima.data(), w.view());
    CHECK(codes.padding_untouched());
    const Nf4Matrix stored{codes.view(), cols};
    for (int64_t o = 0; o < 5; o++) {
        for (int64_t i = 0; i < cols; i++) {
            const float maximum = maxima[static_cast<size_t>(o * nf4_blocks(cols) + i / kNf4Block)];
            const float found = std::abs(maximum * stored.level(o, i) - w(o, i));
            float nearest = found;
            for (int code = 0; code < 16; code++)
                nearest = std::min(nearest, std::abs(maximum * nf4_level(code) - w(o, i)));
            CHECK(found <= nearest * (1 + 1e-5f));
        }
    }
}

TEST_CASE("the maxima of blocks keep 8 bits around their mean", "[nf4]") {
    std::vector<float> maxima(kNf4Group + 3);
    for (size_t b = 0; b < maxima.size(); b++) maxima[b] = 0.02f + 0.01f * std::sin(static_cast<float>(b));
    std::vector<uint8_t> codes(maxima.size());
    std::vector<float> factor(2);
    const float mean = cpu::quantize_nf4_maxima(codes, factor, maxima);
    for (size_t b = 0; b < maxima.size(); b++) {
        const float off = std::abs(mean + factor[b / kNf4Group] * decode_e4m3(codes[b]) - maxima[b]);
        CHECK(off <= std::abs(maxima[b] - mean) / 16 + factor[b / kNf4Group] * 0x1p-10f);
    }
    // Equal ones are exact.
    std::ranges::fill(maxima, 0.25f);
    CHECK(cpu::quantize_nf4_maxima(codes, factor, maxima) == 0.25f);
    CHECK(decode_e4m3(codes[7]) == 0);
}

TEST_CASE("a NaN in a weight reaches every product with the matrix", "[nf4]") {
    auto w = random_buffer<float>(3, 70, 1);
    w(1, 66) = std::nanf("");
    const Nf4Weights weights(w);
    CHECK(std::isnan(weights.matrix().mean));
}

TEST_CASE("products with NF4 weights are those with what they stand for", "[nf4]") {
    const int threads = GENERATE(1, 5);
    // Around the edges of blocks of 64, and of 256 x 1024.
    const auto [n, in, out] =
        GENERATE(table<int, int, int>({{1, 1, 1}, {1, 1100, 300}, {2, 1030, 257}, {7, 33, 600}, {130, 70, 257}}));
    const cpu::Device device{threads};
    const Nf4Weights weights(random_buffer<float>(out, in, 1));
    const Buffer<float> dense = weights.dequantized();
    const auto x = random_buffer<float>(n, in, 2), dy = random_buffer<float>(n, out, 3);
    std::vector<float> workspace(static_cast<size_t>(cpu::nf4_gemm_workspace(device, out, in)));
    Buffer<float> y = random_buffer<float>(n, out, 4), dx(n, in), expected_y = y, expected_dx(n, in);
    cpu::gemm_nt<float>(device, expected_y.view(), x.view(), dense.view(), 1, 0.5f);
    cpu::gemm_nn<float>(device, expected_dx.view(), dy.view(), dense.view(), 1, 0);
    cpu::nf4_gemm_nt<float>(device, y.view(), x.view(), weights.matrix(), 0.5f, workspace);
    cpu::nf4_gemm_nn<float>(device, dx.view(), dy.view(), weights.matrix(), workspace);
    // Sums of up to 1100 products near 1 in another order.
    CHECK(largest_difference(y, expected_y) < 2e-4);
    CHECK(largest_difference(dx, expected_dx) < 2e-4);
    CHECK(y.padding_untouched());
    CHECK(dx.padding_untouched());
}
