#include "llmc/cpu/int8_gemm.h"

#include <tuple>

#include "test/catch.h"
#include "test/llmc/cpu/operator_testing.h"

using namespace llmc_test;

TEST_CASE("int8 products are exact in every shape", "[int8_gemm]") {
    const auto [n, in, out] = GENERATE(table<int, int, int>({{1, 1, 1},
                                                             {1, 64, 33},
                                                             {5, 1, 7},
                                                             {17, 31, 1},
                                                             {16, 64, 48},
                                                             {300, 67, 270},
                                                             {3, 1030, 515},
                                                             {130, 129, 131}}));
    const auto transpose = GENERATE(true, false);
    const auto product = GENERATE(cpu::int8_product(), cpu::widening_int8_product);
    const auto a = random_int8(n, in, 1);
    const auto b = transpose ? random_int8(out, in, 2) : random_int8(in, out, 2);
    Buffer<int32_t> c(n, out);
    product(c.view(), a.view(), b.view(), transpose);
    int64_t wrong = 0;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < out; j++) {
            int64_t sum = 0;
            for (int64_t k = 0; k < in; k++) sum += int64_t{a(i, k)} * (transpose ? b(j, k) : b(k, j));
            wrong += c(i, j) != sum;
        }
    }
    CHECK(wrong == 0);
    CHECK(c.padding_untouched());
}
