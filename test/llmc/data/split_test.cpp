// Splits and samples of the indices 0 .. n-1 (llmc/data/examples.h).
#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "llmc/core/error.h"
#include "llmc/data/examples.h"
#include "test/catch.h"

using namespace llmc;

TEST_CASE("a split is disjoint, complete and the seed's own", "[data][split]") {
    for (int64_t n : {2, 3, 10, 1000}) {
        for (double fraction : {1e-9, 0.1, 0.5, 0.999}) {
            const Split split = split_indices(n, fraction, 3);
            INFO(n << " " << fraction);
            CHECK(split.train.size() >= 1);
            CHECK(split.eval.size() >= 1);
            CHECK(std::is_sorted(split.train.begin(), split.train.end()));
            CHECK(std::is_sorted(split.eval.begin(), split.eval.end()));
            std::vector<int64_t> all = split.train;
            all.insert(all.end(), split.eval.begin(), split.eval.end());
            std::sort(all.begin(), all.end());
            std::vector<int64_t> expected(n);
            for (int64_t i = 0; i < n; ++i) expected[i] = i;
            CHECK(all == expected);
        }
    }
    CHECK(split_indices(1000, 0.1, 3).eval.size() == 100);
    CHECK(split_indices(1000, 0.1, 3).eval == split_indices(1000, 0.1, 3).eval);
    CHECK(split_indices(1000, 0.1, 3).eval != split_indices(1000, 0.1, 4).eval);
    CHECK(split_indices(1000, 0, 3).eval.empty());
    CHECK(split_indices(1, 0.5, 3).train.size() == 1);
    CHECK(split_indices(0, 0.5, 3).train.empty());
    CHECK_THROWS_AS(split_indices(10, 1, 3), Error);
    CHECK_THROWS_AS(split_indices(10, -0.1, 3), Error);
}

TEST_CASE("a sample is some of the indices, ascending, each as likely as the next", "[data][split]") {
    std::map<int64_t, int> counts;
    for (uint64_t seed = 0; seed < 2000; ++seed) {
        const std::vector<int64_t> sample = sample_indices(10, 3, seed);
        REQUIRE(sample.size() == 3);
        CHECK((sample[0] < sample[1] && sample[1] < sample[2]));
        for (int64_t i : sample) ++counts[i];
    }
    // Each is drawn 600 times on average with a standard deviation of sqrt(2000 * 0.3 * 0.7) = 20.5; five of them.
    for (int64_t i = 0; i < 10; ++i) CHECK(std::abs(counts[i] - 600) < 103);
    CHECK(sample_indices(3, 10, 0) == std::vector<int64_t>{0, 1, 2});
}
