#include "llmc/cpu/rmsnorm.h"

#include "test/catch.h"
#include "test/llmc/cpu/operator_testing.h"

using namespace llmc_test;

namespace {

constexpr float kEps = 1e-5f;

struct Outputs {
    Buffer<double> out, residual;
    std::vector<double> rstd;
};

Outputs forward(const Buffer<double>& x, const Buffer<double>* y, const std::vector<double>& weight) {
    Outputs o{Buffer<double>(x.rows(), x.cols()), Buffer<double>(x.rows(), x.cols()), std::vector<double>(x.rows())};
    cpu::rmsnorm_forward(cpu::Device{2}, o.out.view(), o.residual.view(), o.rstd.data(), x.view(),
                         y ? y->view() : Matrix<const double>(), {weight.data()}, kEps);
    return o;
}

}  // namespace

TEST_CASE("rmsnorm forward adds, normalises and keeps what backward needs", "[rmsnorm]") {
    const auto x = random_buffer<double>(5, 33, 1), y = random_buffer<double>(5, 33, 2);
    const auto weight = random_vector<double>(33, 3);
    const bool with_y = GENERATE(true, false);
    const Outputs o = forward(x, with_y ? &y : nullptr, weight);
    for (int64_t n = 0; n < 5; n++) {
        double mean = 0;
        for (int64_t c = 0; c < 33; c++) {
            const double r = x(n, c) + (with_y ? y(n, c) : 0.0);
            CHECK(o.residual(n, c) == r);
            mean += r * r / 33;
        }
        CHECK(o.rstd[n] == Approx(1 / std::sqrt(mean + static_cast<double>(kEps))).epsilon(1e-14));
        for (int64_t c = 0; c < 33; c++)
            CHECK(o.out(n, c) == Approx(o.residual(n, c) * o.rstd[n] * weight[c]).margin(1e-14));
    }
    CHECK(o.out.padding_untouched());
    CHECK(o.residual.padding_untouched());
}

TEST_CASE("rmsnorm may add in place, and apply recomputes its output to the bit", "[rmsnorm]") {
    auto x = random_buffer<float>(4, 70, 1);
    const auto y = random_buffer<float>(4, 70, 2);
    const auto weight = random_vector<float>(70, 3);
    Buffer<float> out(4, 70), residual(4, 70), out_in_place(4, 70), again(4, 70);
    std::vector<float> rstd(4);
    const cpu::Device device{2};
    cpu::rmsnorm_forward(device, out.view(), residual.view(), rstd.data(), x.view(), y.view(), {weight.data()}, kEps);
    cpu::rmsnorm_forward(device, out_in_place.view(), x.view(), rstd.data(), x.view(), y.view(), {weight.data()}, kEps);
    CHECK(out_in_place == out);
    CHECK(x == residual);
    cpu::rmsnorm_apply(device, again.view(), residual.view(), rstd.data(), {weight.data()});
    CHECK(again == out);
}

TEST_CASE("rmsnorm backward is the derivative of rmsnorm forward", "[rmsnorm]") {
    auto x = random_buffer<double>(3, 17, 1);
    const auto weight = random_vector<double>(17, 3);
    const auto dout = random_buffer<double>(3, 17, 4);
    const Outputs o = forward(x, nullptr, weight);
    Buffer<double> dx(3, 17);
    cpu::rmsnorm_backward(cpu::Device{2}, dx.view(), dout.view(), o.residual.view(), o.rstd.data(), {weight.data()});
    CHECK(gradient_error(x, dx, [&] { return inner_product(forward(x, nullptr, weight).out, dout); }) <
          kGradientTolerance);

    // Accumulates: a second call doubles.
    Buffer<double> twice = dx;
    cpu::rmsnorm_backward(cpu::Device{1}, twice.view(), dout.view(), o.residual.view(), o.rstd.data(), {weight.data()});
    for (int64_t n = 0; n < 3; n++) {
        for (int64_t c = 0; c < 17; c++) CHECK(twice(n, c) == Approx(2 * dx(n, c)));
    }
    CHECK(twice.padding_untouched());
}

TEST_CASE("what is added to the weights of rmsnorm is a part of them, in every pass", "[rmsnorm]") {
    const auto x = random_buffer<double>(3, 17, 1), dout = random_buffer<double>(3, 17, 2);
    const auto less_one = random_vector<double>(17, 3);
    std::vector<double> whole = less_one;
    for (double& w : whole) w += 1;
    const cpu::Device device{2};
    const auto passes = [&](NormWeight<double> weight) {
        Buffer<double> out(3, 17), again(3, 17), r(3, 17), dx(3, 17);
        std::vector<double> rstd(3);
        cpu::rmsnorm_forward(device, out.view(), r.view(), rstd.data(), x.view(), {}, weight, kEps);
        cpu::rmsnorm_apply(device, again.view(), r.view(), rstd.data(), weight);
        cpu::rmsnorm_backward(device, dx.view(), dout.view(), r.view(), rstd.data(), weight);
        return std::vector{out, again, dx};
    };
    CHECK(passes({less_one.data(), 1}) == passes({whole.data()}));
}

TEST_CASE("rmsnorm of zero rows and of a zero row", "[rmsnorm]") {
    const std::vector<double> weight(8, 1.0);
    CHECK(forward(Buffer<double>(0, 8), nullptr, weight).out.rows() == 0);
    const Outputs o = forward(Buffer<double>(1, 8), nullptr, weight);
    CHECK(o.out(0, 0) == 0.0);
    CHECK(o.rstd[0] == Approx(1 / std::sqrt(static_cast<double>(kEps))));
}
