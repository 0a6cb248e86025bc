#include "llmc/cpu/swiglu.h"

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

TEST_CASE("swiglu backward is the derivative of swiglu forward, in place too", "[swiglu]") {
    auto gate_up = random_buffer<double>(3, 2 * 7, 1, 2.0);
    const auto dout = random_buffer<double>(3, 7, 2);
    Buffer<double> dgate_up(3, 14), out(3, 7);
    cpu::swiglu_backward(cpu::Device{2}, dgate_up.view(), dout.view(), gate_up.view());
    const double error = gradient_error(gate_up, dgate_up, [&] {
        cpu::swiglu_forward(cpu::Device{1}, out.view(), gate_up.view());
        return inner_product(out, dout);
    });
    CHECK(error < kGradientTolerance);
    cpu::swiglu_backward(cpu::Device{2}, gate_up.view(), dout.view(), gate_up.view());
    CHECK(gate_up == dgate_up);
    CHECK(dgate_up.padding_untouched());
}

TEST_CASE("swiglu of huge gates is the gate or nothing, never NaN", "[swiglu]") {
    Buffer<float> gate_up(1, 4), out(1, 2), dout(1, 2), grad(1, 4);
    gate_up(0, 0) = 1000.0f;
    gate_up(0, 1) = -1000.0f;
    gate_up(0, 2) = gate_up(0, 3) = 2.0f;
    dout.fill(1.0f);
    cpu::swiglu_forward(cpu::Device{1}, out.view(), gate_up.view());
    CHECK(out(0, 0) == 2000.0f);
    CHECK(out(0, 1) == 0.0f);
    cpu::swiglu_backward(cpu::Device{1}, grad.view(), dout.view(), gate_up.view());
    CHECK(grad(0, 0) == 2.0f);
    CHECK(grad(0, 1) == 0.0f);
    CHECK(grad(0, 2) == 1000.0f);
    CHECK(grad(0, 3) == 0.0f);
}
