// The operators that only move or add rows: embedding, gather, scatter, add.
#include "llmc/cpu/add.h"
#include "llmc/cpu/embedding.h"
#include "llmc/cpu/gather.h"
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
                      Catch::Matchers::Contains("token 1 has id " + std::to_string(id)));
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
