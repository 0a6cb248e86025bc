#include "llmc/data/shuffle.h"

#include <cmath>
#include <map>
#include <vector>

#include "test/catch.h"

using namespace llmc;
using Indices = std::vector<int64_t>;

TEST_CASE("every order of four is as likely as the next", "[data][shuffle]") {
    std::map<Indices, int> counts;
    for (uint64_t epoch = 0; epoch < 24000; ++epoch) ++counts[permutation(4, 1, RandomStream::epoch, epoch)];
    REQUIRE(counts.size() == 24);
    // 1000 each on average with a standard deviation of sqrt(1000 * 23/24) = 31; five of them.
    for (const auto& [order, count] : counts) CHECK(std::abs(count - 1000) < 155);
}

TEST_CASE("an order is pinned: it is part of what a checkpoint resumes", "[data][shuffle]") {
    // From a Philox4x32-10 in Python, whose integers have no width to get wrong.
    CHECK(permutation(8, 0, RandomStream::epoch, 0) == Indices{3, 4, 0, 7, 1, 6, 5, 2});
    CHECK(permutation(8, uint64_t{12345} << 32 | 7, RandomStream::epoch, 3) == Indices{7, 1, 3, 4, 2, 6, 0, 5});
    CHECK(permutation(8, 0, RandomStream::subset) == Indices{0, 4, 6, 5, 1, 2, 3, 7});
}
