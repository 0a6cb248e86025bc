#include "llmc/cpu/swiglu.h"

#include <numbers>

#include "test/catch.h"
#include "test/llmc/cpu/operator_testing.h"

using namespace llmc_test;

TEST_CASE("swiglu forward is silu(gate) up, gate first", "[swiglu]") {
    const auto gate_up = random_buffer<float>(4, 2 * 19, 1, 3.0);
    Buffer<float> out(4, 19);
    cpu::swiglu_forward(cpu::Device{2}, out.view(), gate_up.view());
    for (int64_t n = 0; n < 4; n++) {
        for (int64_t f = 0; f < 19; f++) {
            const double g = static_cast<double>(gate_up(n, f)), u = static_cast<double>(gate_up(n, 19 + f));
            CHECK(out(n, f) == Approx(g / (1 + std::exp(-g)) * u).epsilon(1e-6));  // a few roundings and exp's ulp
        }
    }
    CHECK(out.padding_untouched());
}

TEST_CASE("swiglu with the tanh gate is gelu_tanh(gate) up", "[swiglu]") {
    const auto gate_up = random_buffer<float>(4, 2 * 19, 1, 3.0);
    Buffer<float> out(4, 19);
    cpu::swiglu_forward(cpu::Device{2}, out.view(), gate_up.view(), Gate::gelu_tanh);
    for (int64_t n = 0; n < 4; n++) {
        for (int64_t f = 0; f < 19; f++) {
            const double g = static_cast<double>(gate_up(n, f)), u = static_cast<double>(gate_up(n, 19 + f));
            const double y = std::sqrt(2 / std::numbers::pi) * (g + 0.044715 * g * g * g);
            // e^-2y has 2y times the relative error of y, 3 ulp; where 1 + tanh(y) cancels, double loses digits too.
            const double relative = 1e-6 + 2 * std::abs(y) * 2e-7;
            CHECK(std::abs(out(n, f) - 0.5 * g * (1 + std::tanh(y)) * u) <=
                  relative * std::abs(out(n, f)) + 1e-14 * std::abs(u));
        }
    }
    CHECK(out.padding_untouched());
}

// torch.nn.functional.gelu(g, approximate="tanh") of float64.
TEST_CASE("the tanh gate has torch's values", "[swiglu]") {
    Buffer<double> gate_up(1, 8), out(1, 4);
    const double gates[] = {-3, -1, 0.5, 1},
                 expected[] = {-0.0036373920817729943, -0.15880800939172324, 0.34571400982514394, 0.8411919906082768};
    for (int64_t f = 0; f < 4; f++) gate_up(0, f) = gates[f], gate_up(0, 4 + f) = 1;
    cpu::swiglu_forward(cpu::Device{1}, out.view(), gate_up.view(), Gate::gelu_tanh);
    for (int64_t f = 0; f < 4; f++) CHECK(out(0, f) == Approx(expected[f]).epsilon(1e-12));
}

TEST_CASE("swiglu backward is the derivative of swiglu forward, in place too", "[swiglu]") {
    const Gate gate = GENERATE(Gate::silu, Gate::gelu_tanh);
    auto gate_up = random_buffer<double>(3, 2 * 7, 1, 2.0);
    const auto dout = random_buffer<double>(3, 7, 2);
    Buffer<double> dgate_up(3, 14), out(3, 7);
    cpu::swiglu_backward(cpu::Device{2}, dgate_up.view(), dout.view(), gate_up.view(), gate);
    const double error = gradient_error(gate_up, dgate_up, [&] {
        cpu::swiglu_forward(cpu::Device{1}, out.view(), gate_up.view(), gate);
        return inner_product(out, dout);
    });
    CHECK(error < kGradientTolerance);
    cpu::swiglu_backward(cpu::Device{2}, gate_up.view(), dout.view(), gate_up.view(), gate);
    CHECK(gate_up == dgate_up);
    CHECK(dgate_up.padding_untouched());
}

TEST_CASE("swiglu of huge gates is the gate or nothing, never NaN", "[swiglu]") {
    const Gate gate = GENERATE(Gate::silu, Gate::gelu_tanh);
    const float large = GENERATE(1000.0f, 1e4f, 65504.0f);  // the last: fp16's largest
    Buffer<float> gate_up(1, 4), out(1, 2), dout(1, 2), grad(1, 4);
    gate_up(0, 0) = large;
    gate_up(0, 1) = -large;
    gate_up(0, 2) = gate_up(0, 3) = 2.0f;
    dout.fill(1.0f);
    cpu::swiglu_forward(cpu::Device{1}, out.view(), gate_up.view(), gate);
    CHECK(out(0, 0) == 2 * large);
    CHECK(out(0, 1) == 0.0f);
    cpu::swiglu_backward(cpu::Device{1}, grad.view(), dout.view(), gate_up.view(), gate);
    CHECK(grad(0, 0) == 2.0f);
    CHECK(grad(0, 1) == 0.0f);
    CHECK(grad(0, 2) == large);
    CHECK(grad(0, 3) == 0.0f);
}

TEST_CASE("swiglu fused with absmax or quantisation is the two after each other", "[swiglu]") {
    const Gate gate = GENERATE(Gate::silu, Gate::gelu_tanh);
    const auto gate_up = random_buffer<float>(5, 2 * 48, 1, 2.0);
    const std::vector<int32_t> channels{0, 7, 47};
    const std::vector<float> s{3.0f, 1.0f, 2.5f};
    const RowTransform transform{channels, s.data()};
    struct Outputs {
        Buffer<float> out{5, 48}, outliers{5, 3};
        Buffer<int8_t> q{5, 48};
        std::vector<float> row_scale = std::vector<float>(5), xmax = std::vector<float>(3);
        bool operator==(const Outputs&) const = default;
    };
    Outputs separate;
    cpu::swiglu_forward(cpu::Device{1}, separate.out.view(), gate_up.view(), gate);
    cpu::outlier_absmax(cpu::Device{1}, separate.xmax.data(), separate.out.view(), channels);
    cpu::quantize_rows(cpu::Device{1}, separate.q.view(), separate.row_scale.data(), separate.outliers.view(),
                       separate.out.view(), transform);
    for (const int threads : {1, 2, 5}) {
        Outputs fused, absmax;
        cpu::swiglu_forward_quantize(cpu::Device{threads}, fused.out.view(), fused.q.view(), fused.row_scale.data(),
                                     fused.outliers.view(), gate_up.view(), transform, gate);
        cpu::swiglu_forward_absmax(cpu::Device{threads}, absmax.out.view(), fused.xmax.data(), gate_up.view(), channels,
                                   gate);
        CHECK(fused == separate);
        CHECK(absmax.out == separate.out);
    }
}
