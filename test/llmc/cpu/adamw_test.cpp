#include "llmc/cpu/adamw.h"

#include "test/catch.h"
#include "test/llmc/cpu/operator_testing.h"

using namespace llmc_test;

TEST_CASE("adamw takes the steps of torch.optim.AdamW", "[adamw]") {
    // torch 2.x: w = nn.Parameter(tensor([1, -2, 0.5], dtype=float64)); AdamW([w], lr=0.1, betas=(0.9, 0.99), eps=1e-3,
    // weight_decay=0.05); gradients [0.1, -4, 0] then [-0.3, 2, 1e-3]. By hand from its documentation, step by step:
    std::vector<double> p{1.0, -2.0, 0.5}, m(3), v(3);
    const AdamWOptions options{.learning_rate = 0.1, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-3, .weight_decay = 0.05};
    const std::vector<std::vector<double>> gradients{{0.1, -4.0, 0.0}, {-0.3, 2.0, 1e-3}};
    std::vector<double> expected = p, em(3), ev(3);
    for (int step = 1; step <= 2; step++) {
        const auto& g = gradients[static_cast<size_t>(step - 1)];
        for (size_t i = 0; i < 3; i++) {
            expected[i] -= 0.1 * 0.05 * expected[i];
            em[i] += (g[i] - em[i]) * (1 - 0.9);
            ev[i] = ev[i] * 0.99 + (1 - 0.99) * g[i] * g[i];
            const double m_hat = em[i] / (1 - std::pow(0.9, step));
            const double v_hat = ev[i] / (1 - std::pow(0.99, step));
            expected[i] -= 0.1 * m_hat / (std::sqrt(v_hat) + 1e-3);
        }
        std::vector<double> doubled = g;  // grad_scale 0.5 undoes it
        for (double& x : doubled) x *= 2;
        cpu::adamw_step(cpu::Device{2}, std::span(p), doubled, m, v, options, step, 0.5f);
        for (size_t i = 0; i < 3; i++) {
            CHECK(p[i] == Approx(expected[i]).epsilon(1e-13));
            CHECK(m[i] == Approx(em[i]).epsilon(1e-13));
            CHECK(v[i] == Approx(ev[i]).epsilon(1e-13));
        }
    }
    // The first step moves by the learning rate against the gradient's sign (eps apart), whatever its size.
    CHECK(expected[1] == Approx(-1.86).margin(0.05));
}

TEST_CASE("adamw in float follows adamw in double", "[adamw]") {
    const size_t count = 1000;
    auto p = random_vector<float>(count, 1);
    std::vector<double> p_double(p.begin(), p.end()), m_double(count), v_double(count);
    std::vector<float> m(count), v(count);
    const AdamWOptions options{.learning_rate = 1e-2};
    for (int step = 1; step <= 20; step++) {
        const auto g = random_vector<float>(count, 100 + static_cast<uint32_t>(step), 1e-4);
        const std::vector<double> g_double(g.begin(), g.end());
        cpu::adamw_step(cpu::Device{2}, std::span(p), g, m, v, options, step, 1.0f);
        cpu::adamw_step(cpu::Device{1}, std::span(p_double), g_double, m_double, v_double, options, step, 1.0f);
    }
    double worst = 0;
    for (size_t i = 0; i < count; i++) worst = std::max(worst, std::abs(static_cast<double>(p[i]) - p_double[i]));
    CHECK(worst <
          5e-6);  // 20 steps, each rounding a parameter near 3 by 1.2e-7 and a step of 0.01 by a few 2^-24 of itself
}

TEST_CASE("adamw of nothing does nothing", "[adamw]") {
    std::span<float> none;
    cpu::adamw_step(cpu::Device{2}, none, none, none, none, {}, 1, 1.0f);
    SUCCEED("nothing was read or written");
}
