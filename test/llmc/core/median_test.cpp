#include "llmc/core/median.h"

#include "test/catch.h"

TEST_CASE("the median is the middle of the values", "[median]") {
    CHECK(llmc::median({3}) == 3);
    CHECK(llmc::median({5, 1, 3}) == 3);
    CHECK(llmc::median({4, 1, 3, 2}) == 2.5);
}
