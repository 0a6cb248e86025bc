#include "llmc/cpu/attention/attention.h"

#include "test/catch.h"
#include "test/llmc/cpu/operator_testing.h"

using namespace llmc_test;

namespace {

const cpu::Device kTwoThreads{2};

AttentionShape shape_of(int n_heads, int n_kv_heads, int head_dim, int window, float soft_cap = 0) {
    return {n_heads, n_kv_heads, head_dim, window, 1.0f / std::sqrt(static_cast<float>(head_dim)), soft_cap};
}

// The definition, token by token.
template <class T>
void reference_attention(Buffer<T>& out, Buffer<T>& lse, const Buffer<T>& qkv, const std::vector<int32_t>& cu_seqlens,
                         const AttentionShape& shape) {
    for (size_t s = 0; s + 1 < cu_seqlens.size(); s++) {
        for (int i = cu_seqlens[s]; i < cu_seqlens[s + 1]; i++) {
            for (int h = 0; h < shape.n_heads; h++) {
                const int kv = h / (shape.n_heads / shape.n_kv_heads);
                const auto q = [&](int d) { return qkv(i, h * shape.head_dim + d); };
                const auto k = [&](int j, int d) { return qkv(j, (shape.n_heads + kv) * shape.head_dim + d); };
                const auto v = [&](int j, int d) {
                    return qkv(j, (shape.n_heads + shape.n_kv_heads + kv) * shape.head_dim + d);
                };
                int first = cu_seqlens[s];
                if (shape.window > 0) first = std::max(first, i - shape.window + 1);
                std::vector<double> score;
                for (int j = first; j <= i; j++) {
                    double dot = 0;
                    for (int d = 0; d < shape.head_dim; d++)
                        dot += static_cast<double>(q(d)) * static_cast<double>(k(j, d));
                    score.push_back(dot * static_cast<double>(shape.scale));
                    const double cap = static_cast<double>(shape.soft_cap);
                    if (cap > 0) score.back() = cap * std::tanh(score.back() / cap);
                }
                const double largest = *std::max_element(score.begin(), score.end());
                double sum = 0;
                for (double x : score) sum += std::exp(x - largest);
                lse(i, h) = static_cast<T>(largest + std::log(sum));
                for (int d = 0; d < shape.head_dim; d++) {
                    double value = 0;
                    for (int j = first; j <= i; j++)
                        value += std::exp(score[j - first] - largest) / sum * static_cast<double>(v(j, d));
                    out(i, h * shape.head_dim + d) = static_cast<T>(value);
                }
            }
        }
    }
}

template <class T>
void forward(const cpu::Device& device, Buffer<T>& out, Buffer<T>& lse, const Buffer<T>& qkv,
             const std::vector<int32_t>& cu_seqlens, const AttentionShape& shape) {
    std::vector<T> workspace(cpu::attention_workspace(device, shape, cpu::longest_sequence(cu_seqlens)));
    cpu::attention_forward<T>(device, out.view(), lse.view(), qkv.view(), cu_seqlens, cpu::longest_sequence(cu_seqlens),
                              shape, workspace);
}

template <class T>
void backward(const cpu::Device& device, Buffer<T>& dqkv, const Buffer<T>& dout, const Buffer<T>& qkv,
              const std::vector<int32_t>& cu_seqlens, const AttentionShape& shape) {
    Buffer<T> out(dout.rows(), dout.cols()), lse(dout.rows(), shape.n_heads);
    forward(device, out, lse, qkv, cu_seqlens, shape);
    std::vector<T> workspace(cpu::attention_workspace(device, shape, cpu::longest_sequence(cu_seqlens)));
    cpu::attention_backward<T>(device, dqkv.view(), dout.view(), out.view(), lse.view(), qkv.view(), cu_seqlens,
                               cpu::longest_sequence(cu_seqlens), shape, workspace);
}

}  // namespace

TEST_CASE("attention forward is the definition, across tiles, sequences, groups and windows", "[attention]") {
    struct Case {
        AttentionShape shape;
        std::vector<int32_t> cu_seqlens;
    };
    const auto c = GENERATE(Case{shape_of(4, 4, 8, 0), {0, 1, 300, 300, 333}},
                            Case{shape_of(6, 2, 16, 0), {0, 129, 386}}, Case{shape_of(9, 3, 8, 37), {0, 260, 300}},
                            Case{shape_of(2, 1, 24, 1), {0, 140}}, Case{shape_of(3, 1, 5, 200), {0, 500}},
                            Case{shape_of(40, 1, 4, 0), {0, 150}}, Case{shape_of(6, 2, 16, 37, 1.5f), {0, 129, 200}});
    const int64_t n = c.cu_seqlens.back();
    const auto qkv = random_buffer<float>(n, c.shape.qkv_width(), 1);
    Buffer<float> out(n, c.shape.n_heads * c.shape.head_dim), lse(n, c.shape.n_heads);
    Buffer<float> expected = out, expected_lse = lse;
    out.fill(std::nanf(""));  // written, never read
    forward(kTwoThreads, out, lse, qkv, c.cu_seqlens, c.shape);
    reference_attention(expected, expected_lse, qkv, c.cu_seqlens, c.shape);
    // Probabilities sum to one and values are near 1: a few hundred roundings of 6e-8, mostly cancelling.
    CHECK(largest_difference(out, expected) < 3e-6);
    CHECK(largest_difference(lse, expected_lse) < 3e-6);
    CHECK(out.padding_untouched());
    CHECK(lse.padding_untouched());
}

TEST_CASE("attention backward is the derivative of its forward", "[attention]") {
    // Four query tiles of a group of 8; the window cuts the band twice. The cap is as large as the scores.
    const auto [window, soft_cap] =
        GENERATE(std::pair(0, 0.0f), std::pair(5, 0.0f), std::pair(21, 0.0f), std::pair(21, 1.5f));
    const int threads = GENERATE(1, 8);  // 8 threads for 2 key heads: the work is divided tile by tile
    const AttentionShape shape = shape_of(16, 2, 3, window, soft_cap);
    const std::vector<int32_t> cu_seqlens{0, 2, 2, 37, 46};
    const cpu::Device device{threads};
    auto qkv = random_buffer<double>(46, shape.qkv_width(), 2);
    const auto dout = random_buffer<double>(46, shape.n_heads * shape.head_dim, 3);
    Buffer<double> dqkv(46, shape.qkv_width());
    dqkv.fill(std::nan(""));  // written, never read
    backward(device, dqkv, dout, qkv, cu_seqlens, shape);
    CHECK(dqkv.padding_untouched());
    Buffer<double> out(46, dout.cols()), lse(46, shape.n_heads);
    const double error = gradient_error(
        qkv, dqkv,
        [&] {
            reference_attention(out, lse, qkv, cu_seqlens, shape);
            return inner_product(out, dout);
        },
        17);
    CHECK(error < kGradientTolerance);
}

TEST_CASE("attention backward is the same however the work is divided", "[attention]") {
    const AttentionShape shape = shape_of(4, 2, 8, GENERATE(0, 150));
    const std::vector<int32_t> cu_seqlens{0, 10, 421};
    const auto qkv = random_buffer<float>(421, shape.qkv_width(), 4);
    const auto dout = random_buffer<float>(421, shape.n_heads * shape.head_dim, 5);
    REQUIRE_FALSE(cpu::split_attention_backward({1}, cu_seqlens, shape.n_kv_heads));
    REQUIRE(cpu::split_attention_backward({8}, cu_seqlens, shape.n_kv_heads));
    Buffer<float> whole(421, shape.qkv_width()), tiled(421, shape.qkv_width()), again(421, shape.qkv_width());
    backward({1}, whole, dout, qkv, cu_seqlens, shape);
    backward({8}, tiled, dout, qkv, cu_seqlens, shape);
    backward({8}, again, dout, qkv, cu_seqlens, shape);
    CHECK(tiled == again);
    CHECK(largest_difference(tiled, whole) < 1e-5);  // sums of up to 411 terms in another order
}

TEST_CASE("attention multiplies in bf16 where the device's products are bf16", "[attention][bf16_gemm]") {
    const auto [window, soft_cap] = GENERATE(std::pair(0, 0.0f), std::pair(150, 0.0f), std::pair(150, 2.0f));
    const AttentionShape shape = shape_of(8, 2, 64, window, soft_cap);
    const std::vector<int32_t> cu_seqlens{0, 10, 331};
    const auto qkv = random_buffer<float>(331, shape.qkv_width(), 4);
    const auto dout = random_buffer<float>(331, shape.n_heads * shape.head_dim, 5);
    cpu::Device exact{GENERATE(1, 8)}, device = exact;  // with 8 threads the backward is divided by tiles
    device.products = cpu::Products::bf16;
    Buffer<float> out(331, dout.cols()), lse(331, shape.n_heads), dqkv(331, shape.qkv_width());
    Buffer<float> exact_out = out, exact_lse = lse, exact_dqkv = dqkv;
    forward(device, out, lse, qkv, cu_seqlens, shape);
    forward(exact, exact_out, exact_lse, qkv, cu_seqlens, shape);
    backward(device, dqkv, dout, qkv, cu_seqlens, shape);
    backward(exact, exact_dqkv, dout, qkv, cu_seqlens, shape);
    // A score of 64 products near 1, scaled by 1/8, is off by some 2^-9, and so, relatively, are the weights of values;
    // the largest of 2e5 such errors is five times as much.
    for (const double error : {largest_difference(out, exact_out), largest_difference(lse, exact_lse)}) {
        CHECK(error > 1e-4);
        CHECK(error < 0.02);
    }
    CHECK(largest_difference(dqkv, exact_dqkv) > 1e-4);
    CHECK(largest_difference(dqkv, exact_dqkv) < 0.05);  // sums over as many queries as see a key
}

TEST_CASE("attention forward does not depend on the number of threads", "[attention]") {
    const AttentionShape shape = shape_of(6, 3, 16, 0);
    const std::vector<int32_t> cu_seqlens{0, 200, 290};
    const auto qkv = random_buffer<float>(290, shape.qkv_width(), 6);
    Buffer<float> one(290, 96), two(290, 96), lse_one(290, 6), lse_two(290, 6);
    forward({1}, one, lse_one, qkv, cu_seqlens, shape);
    forward({2}, two, lse_two, qkv, cu_seqlens, shape);
    CHECK(one == two);
    CHECK(lse_one == lse_two);
}

TEST_CASE("attention survives scores far outside the range of exp", "[attention]") {
    const AttentionShape shape = shape_of(2, 1, 8, 0);
    const std::vector<int32_t> cu_seqlens{0, 150};
    const auto qkv = random_buffer<float>(150, shape.qkv_width(), 7, 40.0);  // scores in the thousands
    Buffer<float> out(150, 16), lse(150, 2), expected = out, expected_lse = lse;
    forward(kTwoThreads, out, lse, qkv, cu_seqlens, shape);
    reference_attention(expected, expected_lse, qkv, cu_seqlens, shape);
    // A score of 5000 is known to 5000 * 2^-24 * 8 additions = 2e-3, and so is the logarithm of a probability; v is
    // near 40.
    CHECK(largest_difference(out, expected) < 0.1);
    CHECK(largest_difference(lse, expected_lse) < 5e-3);
}

TEST_CASE("decoding the last token is the last row of attention", "[attention]") {
    const AttentionShape shape = shape_of(6, 2, 16, GENERATE(0, 1, 70), GENERATE(0.0f, 1.5f));
    const int n = GENERATE(1, 64, 65, 200);
    const std::vector<int32_t> cu_seqlens{0, n};
    const auto qkv = random_buffer<float>(n, shape.qkv_width(), 8);
    Buffer<float> out(n, 96), lse(n, 6), decoded(1, 96);
    reference_attention(out, lse, qkv, cu_seqlens, shape);
    Buffer<float> last(1, 96);
    std::copy_n(out.view().row(n - 1), 96, last.view().row(0));
    cpu::attention_decode(kTwoThreads, decoded.view(), qkv.view().rows_at(n - 1, 1).columns(0, 96),
                          qkv.view().columns(96, 32), qkv.view().columns(128, 32), shape);
    CHECK(largest_difference(decoded, last) < 3e-6);  // as above
}

TEST_CASE("attention of no tokens does nothing", "[attention]") {
    const AttentionShape shape = shape_of(2, 1, 4, 0);
    std::vector<float> workspace(cpu::attention_workspace(kTwoThreads, shape, 0));
    const std::vector<int32_t> cu_seqlens = GENERATE(std::vector<int32_t>{0}, std::vector<int32_t>{0, 0});
    Buffer<float> none(0, 16), out(0, 8), lse(0, 2);
    cpu::attention_forward<float>(kTwoThreads, out.view(), lse.view(), none.view(), cu_seqlens,
                                  cpu::longest_sequence(cu_seqlens), shape, workspace);
    cpu::attention_backward<float>(kTwoThreads, none.view(), out.view(), out.view(), lse.view(), none.view(),
                                   cu_seqlens, cpu::longest_sequence(cu_seqlens), shape, workspace);
    CHECK(none.padding_untouched());
}

TEST_CASE("attention refuses what it cannot compute", "[attention]") {
    const std::vector<int32_t> cu_seqlens{0, 1};
    Buffer<float> qkv(1, 64), out(1, 32), lse(1, 4);
    std::vector<float> workspace(8);
    CHECK_THROWS_WITH(cpu::attention_forward<float>(kTwoThreads, out.view(), lse.view(), qkv.view(), cu_seqlens, 1,
                                                    shape_of(4, 2, 8, 0), workspace),
                      Catch::Matchers::ContainsSubstring("workspace"));
    CHECK_THROWS_WITH(cpu::attention_forward<float>(kTwoThreads, out.view(), lse.view(), qkv.view(), cu_seqlens, 1,
                                                    shape_of(4, 3, 8, 0), workspace),
                      Catch::Matchers::ContainsSubstring("evenly"));
    CHECK_THROWS_WITH(cpu::attention_forward<float>(kTwoThreads, out.view(), lse.view(), qkv.view(), cu_seqlens, 1,
                                                    shape_of(4, 2, 8, 0, -50.0f), workspace),
                      Catch::Matchers::ContainsSubstring("soft cap"));
}
