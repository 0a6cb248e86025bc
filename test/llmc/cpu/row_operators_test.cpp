// The operators that only move or add rows (embedding, gather, scatter, add), and what all row-wise operators share.
#include "llmc/cpu/add.h"
#include "llmc/cpu/dropout.h"
#include "llmc/cpu/embedding.h"
#include "llmc/cpu/gather.h"
#include "llmc/cpu/quantize.h"
#include "llmc/cpu/rmsnorm.h"
#include "llmc/cpu/rope.h"
#include "llmc/cpu/rows.h"
#include "llmc/cpu/scale.h"
#include "llmc/cpu/swiglu.h"
#include "test/catch.h"
#include "test/llmc/cpu/operator_testing.h"

using namespace llmc_test;

namespace {

const cpu::Device kDevice{2};

}  // namespace

TEST_CASE("the embedding of a token is its row of the table", "[embedding]") {
    const auto table = random_buffer<float>(6, 10, 1);
    const std::vector<int32_t> ids{5, 0, 0, 3};
    Buffer<float> out(4, 10);
    cpu::embedding_forward(kDevice, out.view(), table.view(), ids);
    for (int64_t n = 0; n < 4; n++) {
        for (int64_t c = 0; c < 10; c++) CHECK(out(n, c) == table(ids[n], c));
    }
    CHECK(out.padding_untouched());
}

TEST_CASE("a token id outside the table is refused", "[embedding]") {
    const auto table = random_buffer<float>(6, 10, 1);
    Buffer<float> out(2, 10);
    const int32_t id = GENERATE(-1, 6);
    CHECK_THROWS_WITH(cpu::embedding_forward(kDevice, out.view(), table.view(), std::vector<int32_t>{0, id}),
                      Catch::Matchers::ContainsSubstring("token 1 has id " + std::to_string(id)));
}

TEST_CASE("scatter_rows is the derivative of gather_rows", "[gather]") {
    auto x = random_buffer<double>(7, 4, 1);
    const std::vector<int32_t> rows =
        GENERATE(std::vector<int32_t>{0, 3, 4, 6}, std::vector<int32_t>{2}, std::vector<int32_t>{});
    const int64_t count = static_cast<int64_t>(rows.size());
    const auto dout = random_buffer<double>(count, 4, 2);
    Buffer<double> out(count, 4), dx(7, 4);
    dx.fill(std::nan(""));
    cpu::gather_rows(kDevice, out.view(), x.view(), rows);
    for (int64_t i = 0; i < count; i++) CHECK(out(i, 3) == x(rows[i], 3));
    cpu::scatter_rows(kDevice, dx.view(), dout.view(), rows);
    const double error = gradient_error(x, dx, [&] {
        cpu::gather_rows(kDevice, out.view(), x.view(), rows);
        return inner_product(out, dout);
    });
    CHECK(error < kGradientTolerance);
    CHECK(out.padding_untouched());
    CHECK(dx.padding_untouched());
}

TEST_CASE("add accumulates", "[add]") {
    const auto x = random_buffer<float>(3, 21, 1), before = random_buffer<float>(3, 21, 2);
    auto out = before;
    cpu::add(kDevice, out.view(), x.view());
    for (int64_t n = 0; n < 3; n++) {
        for (int64_t c = 0; c < 21; c++) CHECK(out(n, c) == before(n, c) + x(n, c));
    }
    CHECK(out.padding_untouched());
}

TEST_CASE("scale multiplies, also in place", "[scale]") {
    const auto x = random_buffer<float>(3, 21, 1);
    Buffer<float> out(3, 21);
    auto in_place = x;
    cpu::scale<float>(kDevice, out.view(), x.view(), 0.3f);
    cpu::scale<float>(kDevice, in_place.view(), in_place.view(), 0.3f);
    for (int64_t n = 0; n < 3; n++) {
        for (int64_t c = 0; c < 21; c++) CHECK(out(n, c) == 0.3f * x(n, c));
    }
    CHECK(in_place == out);
    CHECK(out.padding_untouched());
}

TEST_CASE("operators of no rows do nothing", "[row_operators]") {
    Matrix<float> none(nullptr, 0, 16), half(nullptr, 0, 8);
    Matrix<int8_t> none_q(nullptr, 0, 16);
    const std::vector<float> ones(16, 1.0f);
    const Buffer<float> tables(1, 4);
    cpu::embedding_forward(kDevice, none, none, {});
    cpu::add(kDevice, none, none);
    cpu::scale(kDevice, none, none, 2.0f);
    cpu::dropout_forward(kDevice, none, none, 0.1f, {});
    cpu::dropout_backward(kDevice, none, none, 0.1f, {});
    cpu::rmsnorm_forward(kDevice, none, none, nullptr, none, none, {ones.data()}, 1e-5f);
    cpu::rmsnorm_apply(kDevice, none, none, nullptr, {ones.data()});
    cpu::rmsnorm_backward(kDevice, none, none, none, nullptr, {ones.data()});
    cpu::rope_forward(kDevice, none, tables.view(), tables.view(), {}, 8);
    cpu::swiglu_forward(kDevice, half, none);
    cpu::swiglu_backward(kDevice, none, half, none);
    cpu::quantize_rows(kDevice, none_q, nullptr, none, none, {});
    cpu::quantize_gradient_rows(kDevice, none_q, nullptr, none, ones.data());
    cpu::quantize_weight(kDevice, none_q, nullptr, none, 0);
    SUCCEED("nothing was read or written");
}

TEST_CASE("row by row operators give the same bits for any number of threads", "[row_operators]") {
    const auto x = random_buffer<float>(37, 66, 1), y = random_buffer<float>(37, 66, 2);
    const auto weight = random_vector<float>(66, 3);
    struct Outputs {
        Buffer<float> norm{37, 66}, residual{37, 66}, gated{37, 33}, gradient{37, 66}, outliers{37, 2};
        Buffer<int8_t> q{37, 66};
        std::vector<float> rstd = std::vector<float>(37), scale = std::vector<float>(37), xmax = std::vector<float>(2);
        bool operator==(const Outputs&) const = default;
    };
    const auto run = [&](int threads) {
        const cpu::Device device{threads};
        const std::vector<int32_t> channels{3, 60};
        Outputs o;
        cpu::rmsnorm_forward(device, o.norm.view(), o.residual.view(), o.rstd.data(), x.view(), y.view(),
                             {weight.data()}, 1e-5f);
        cpu::rmsnorm_backward(device, o.gradient.view(), y.view(), o.residual.view(), o.rstd.data(), {weight.data()});
        cpu::swiglu_forward(device, o.gated.view(), x.view());
        cpu::outlier_absmax(device, o.xmax.data(), x.view(), channels);
        cpu::quantize_rows(device, o.q.view(), o.scale.data(), o.outliers.view(), x.view(), {channels, weight.data()});
        return o;
    };
    const Outputs one = run(1);
    CHECK(run(2) == one);
    CHECK(run(5) == one);
}

TEST_CASE("columns are divided, each by its own number", "[row_operators]") {
    auto y = random_buffer<float>(4, 19, 1);
    const auto before = y;
    std::vector<float> divisor(19);
    for (size_t c = 0; c < divisor.size(); c++) divisor[c] = 0.5f + 0.1f * static_cast<float>(c);
    cpu::divide_columns<float>(cpu::Device{2}, y.view(), divisor.data());
    for (int64_t n = 0; n < 4; n++)
        for (int64_t c = 0; c < 19; c++) CHECK(y(n, c) == before(n, c) / divisor[c]);
    CHECK(y.padding_untouched());
}
