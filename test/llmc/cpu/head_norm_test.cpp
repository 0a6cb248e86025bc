#include "llmc/cpu/head_norm.h"

#include "test/catch.h"
#include "test/llmc/cpu/operator_testing.h"

using namespace llmc_test;

namespace {

constexpr float kEps = 1e-5f;
constexpr int64_t kRows = 3, kHeads = 2, kChannels = 7;

struct Outputs {
    Buffer<double> x, kept = Buffer<double>(kRows, kHeads*kChannels), rstd = Buffer<double>(kRows, kHeads);
};

Outputs forward(const Buffer<double>& x, const std::vector<double>& weight) {
    Outputs o{x};
    cpu::head_norm_forward(cpu::Device{2}, o.x.view(), o.kept.view(), o.rstd.view(), {weight.data()}, kEps);
    return o;
}

}  // namespace

TEST_CASE("head norm normalises each head by itself and keeps what backward needs", "[head_norm]") {
    const auto x = random_buffer<double>(kRows, kHeads * kChannels, 1);
    const auto weight = random_vector<double>(kChannels, 2);
    const Outputs o = forward(x, weight);
    for (int64_t n = 0; n < kRows; n++) {
        for (int64_t h = 0; h < kHeads; h++) {
            double mean = 0;
            for (int64_t d = 0; d < kChannels; d++) mean += x(n, h * kChannels + d) * x(n, h * kChannels + d);
            const double rstd = 1 / std::sqrt(mean / kChannels + static_cast<double>(kEps));
            CHECK(o.rstd(n, h) == Approx(rstd).epsilon(1e-14));
            for (int64_t d = 0; d < kChannels; d++) {
                CHECK(o.kept(n, h * kChannels + d) == x(n, h * kChannels + d));
                CHECK(o.x(n, h * kChannels + d) == Approx(x(n, h * kChannels + d) * rstd * weight[d]).margin(1e-14));
            }
        }
    }
    for (const Buffer<double>* buffer : {&o.x, &o.kept, &o.rstd}) CHECK(buffer->padding_untouched());
}

TEST_CASE("head norm backward is the derivative of head norm forward", "[head_norm]") {
    auto x = random_buffer<double>(kRows, kHeads * kChannels, 1);
    auto weight = random_vector<double>(kChannels, 2);
    weight[3] = 0;  // what the forward pass keeps is enough even there
    const auto dout = random_buffer<double>(kRows, kHeads * kChannels, 3);
    const Outputs o = forward(x, weight);
    Buffer<double> dx = dout;
    cpu::head_norm_backward(cpu::Device{2}, dx.view(), o.kept.view(), o.rstd.view(), {weight.data()});
    CHECK(gradient_error(x, dx, [&] { return inner_product(forward(x, weight).x, dout); }) < kGradientTolerance);
    CHECK(dx.padding_untouched());
}

TEST_CASE("what is added to the weights of a head norm is a part of them, in both passes", "[head_norm]") {
    const auto x = random_buffer<double>(kRows, kHeads * kChannels, 1),
               dout = random_buffer<double>(kRows, kHeads * kChannels, 2);
    const auto less_one = random_vector<double>(kChannels, 3);
    std::vector<double> whole = less_one;
    for (double& w : whole) w += 1;
    const auto passes = [&](NormWeight<double> weight) {
        Buffer<double> out = x, kept = x, rstd(kRows, kHeads), dx = dout;
        cpu::head_norm_forward(cpu::Device{2}, out.view(), kept.view(), rstd.view(), weight, kEps);
        cpu::head_norm_backward(cpu::Device{2}, dx.view(), kept.view(), rstd.view(), weight);
        return std::vector{out, dx};
    };
    CHECK(passes({less_one.data(), 1}) == passes({whole.data()}));
}

TEST_CASE("head norm of columns of a wider buffer touches only them", "[head_norm]") {
    const auto before = random_buffer<float>(4, 24, 1);
    auto qkv = before;
    Buffer<float> kept(4, 16), rstd(4, 3);
    const auto weight = random_vector<float>(8, 2);
    cpu::head_norm_forward<float>(cpu::Device{2}, qkv.view().columns(8, 8), kept.view().columns(8, 8),
                                  rstd.view().columns(2, 1), {weight.data()}, kEps);
    for (int64_t n = 0; n < 4; n++) {
        for (int64_t c = 0; c < 8; c++) {
            CHECK(qkv(n, c) == before(n, c));
            CHECK(qkv(n, 16 + c) == before(n, 16 + c));
            CHECK(kept(n, c) == 0);
            CHECK(kept(n, 8 + c) == before(n, 8 + c));
        }
        CHECK(rstd(n, 0) == 0);
        CHECK(rstd(n, 1) == 0);
        CHECK(rstd(n, 2) > 0);
    }
}

TEST_CASE("head norm of no rows and of a head of zeros", "[head_norm]") {
    const std::vector<double> weight(kChannels, 1.0);
    Buffer<double> none(0, 14), none_kept(0, 14), none_rstd(0, 2);
    cpu::head_norm_forward(cpu::Device{2}, none.view(), none_kept.view(), none_rstd.view(), {weight.data()}, kEps);
    const Outputs o = forward(Buffer<double>(kRows, kHeads * kChannels), weight);
    CHECK(o.x(0, 0) == 0.0);
    CHECK(o.rstd(0, 1) == Approx(1 / std::sqrt(static_cast<double>(kEps))));
}
