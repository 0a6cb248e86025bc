#include "llmc/cpu/kl_divergence.h"

#include "test/catch.h"
#include "test/llmc/cpu/operator_testing.h"

using namespace llmc_test;

namespace {

const cpu::Device kDevice{2};

// sum_v p (log p - log q) as it is written, in double; logits of moderate size.
template <class T>
double definition(const Buffer<T>& p_logits, const Buffer<T>& q_logits, int64_t n) {
    double p_total = 0, q_total = 0, divergence = 0;
    for (int64_t v = 0; v < p_logits.cols(); v++) {
        p_total += std::exp(static_cast<double>(p_logits(n, v)));
        q_total += std::exp(static_cast<double>(q_logits(n, v)));
    }
    for (int64_t v = 0; v < p_logits.cols(); v++) {
        const double p = std::exp(static_cast<double>(p_logits(n, v))) / p_total;
        const double q = std::exp(static_cast<double>(q_logits(n, v))) / q_total;
        divergence += p * (std::log(p) - std::log(q));
    }
    return divergence;
}

template <class T>
std::vector<T> divergences(const Buffer<T>& p_logits, const Buffer<T>& q_logits) {
    std::vector<T> values(static_cast<size_t>(p_logits.rows()), -1);
    Buffer<T> p = p_logits, q = q_logits;
    cpu::kl_divergence<T>(kDevice, values.data(), p.view(), q.view());
    return values;
}

}  // namespace

TEST_CASE("the divergence of two rows of logits is that of the definition", "[kl_divergence]") {
    const int vocabulary = GENERATE(1, 7, 5000);
    const auto p = random_buffer<double>(5, vocabulary, 1, 4.0), q = random_buffer<double>(5, vocabulary, 2, 4.0);
    const std::vector<double> exact = divergences(p, q);
    // The same formula in another order: fp64's rounding over 5000 terms.
    for (int64_t n = 0; n < 5; n++) CHECK(exact[n] == Approx(definition(p, q, n)).epsilon(1e-12).margin(1e-12));

    // Of models that are nearly the same, as those compared are: KL is 1e-3. An exponent between -8 and -4 rounds by up
    // to 2^-22 = 2.4e-7, and with it an exponential.
    const auto p32 = random_buffer<float>(5, vocabulary, 1, 4.0), noise = random_buffer<float>(5, vocabulary, 3, 0.05);
    auto q32 = p32;
    for (int64_t n = 0; n < 5; n++)
        for (int64_t v = 0; v < vocabulary; v++) q32(n, v) += noise(n, v);
    const std::vector<float> near = divergences(p32, q32);
    for (int64_t n = 0; n < 5; n++) CHECK(near[n] == Approx(definition(p32, q32, n)).margin(5e-7));
}

TEST_CASE("equal logits diverge by exactly 0, and a constant added to a row changes nothing", "[kl_divergence]") {
    auto p = random_buffer<float>(3, 1000, 1, 4.0);
    for (int64_t n = 0; n < 3; n++)
        for (int64_t v = 0; v < 1000; v++) p(n, v) = std::round(p(n, v) * 256) / 256;  // so that nothing rounds below
    CHECK(divergences(p, p) == std::vector<float>(3, 0.0f));
    auto shifted = p;
    for (int64_t n = 0; n < 3; n++)
        for (int64_t v = 0; v < 1000; v++) shifted(n, v) += 64.0f;
    CHECK(divergences(p, shifted) == std::vector<float>(3, 0.0f));
}

TEST_CASE("the divergence is not symmetric: p weighs the difference", "[kl_divergence]") {
    Buffer<double> p(1, 2), q(1, 2);
    p(0, 0) = std::log(0.9), p(0, 1) = std::log(0.1);
    q(0, 0) = std::log(0.5), q(0, 1) = std::log(0.5);
    CHECK(divergences(p, q)[0] == Approx(0.9 * std::log(1.8) + 0.1 * std::log(0.2)));
    CHECK(divergences(q, p)[0] == Approx(0.5 * std::log(0.5 / 0.9) + 0.5 * std::log(5.0)));
}

TEST_CASE("the divergence of huge logits stays finite, and NaN reaches it", "[kl_divergence]") {
    Buffer<float> p(3, 20), q(3, 20);
    p.fill(-3e38f);
    q.fill(-3e38f);
    p(0, 3) = q(0, 3) = 3e38f;
    p(1, 3) = 3e38f, q(1, 3) = 3e38f, q(1, 4) = 3e38f;  // p is certain, q halves it
    p(2, 19) = std::nanf("");
    const std::vector<float> found = divergences(p, q);
    CHECK(found[0] == 0.0f);
    CHECK(found[1] == Approx(std::log(2.0)));
    CHECK(std::isnan(found[2]));
}

TEST_CASE("logits of different shapes are not compared, and no rows are no work", "[kl_divergence]") {
    Buffer<float> p(2, 4), q(2, 5), none(0, 4);
    float values[2];
    CHECK_THROWS_WITH(cpu::kl_divergence<float>(kDevice, values, p.view(), q.view()),
                      Catch::Matchers::ContainsSubstring("2 x 4"));
    CHECK_THROWS_AS(cpu::kl_divergence<float>(kDevice, values, p.view(), none.view()), Error);
    cpu::kl_divergence<float>(kDevice, nullptr, none.view(), none.view());
}
