#include "quaff/run/generate.h"

#include <cmath>
#include <limits>

#include "llmc/core/error.h"
#include "test/catch.h"

using namespace quaff;

namespace {

std::vector<int> draw(const std::vector<float>& logits, const SamplingOptions& sampling, int count) {
    std::vector<int> seen(logits.size());
    for (int i = 0; i < count; ++i)
        ++seen[static_cast<size_t>(next_token(logits, sampling, 0, static_cast<uint64_t>(i)))];
    return seen;
}

}  // namespace

TEST_CASE("temperature 0 takes the likeliest token, the lowest id of several", "[generate]") {
    CHECK(next_token(std::vector<float>{1, 3, 2, 3}, {}, 0, 0) == 1);
    CHECK(next_token(std::vector<float>{-5}, {}, 0, 0) == 0);
    const float nan = std::numeric_limits<float>::quiet_NaN();
    CHECK_THROWS_AS(next_token(std::vector<float>{nan, nan}, {}, 0, 0), llmc::Error);
}

TEST_CASE("tokens are drawn with the softmax's probabilities", "[generate]") {
    // Probabilities 0.5, 0.25, 0.125, 0.125; at temperature 0.5 their squares, normalised: 16, 4, 1, 1 of 22.
    const std::vector<float> logits = {std::log(4.0f), std::log(2.0f), 0, 0};
    constexpr int kDraws = 20000;
    const std::vector<int> at1 = draw(logits, {1.0, 0, 1.0, 5}, kDraws),
                           at_half = draw(logits, {0.5, 0, 1.0, 5}, kDraws);
    const double p1[] = {0.5, 0.25, 0.125, 0.125}, p_half[] = {16 / 22., 4 / 22., 1 / 22., 1 / 22.};
    for (size_t i = 0; i < 4; ++i) {
        // Five standard deviations of a binomial count: a fixed seed that fails once in a million.
        CHECK(std::abs(at1[i] - kDraws * p1[i]) < 5 * std::sqrt(kDraws * p1[i] * (1 - p1[i])));
        CHECK(std::abs(at_half[i] - kDraws * p_half[i]) < 5 * std::sqrt(kDraws * p_half[i] * (1 - p_half[i])));
    }
}

TEST_CASE("top_k and top_p leave out the unlikely tokens", "[generate]") {
    const std::vector<float> logits = {0, std::log(4.0f), std::log(2.0f), 0};  // 1/8, 1/2, 1/4, 1/8
    const auto kept = [&](int64_t top_k, double top_p) {
        std::vector<bool> seen;
        for (const int count : draw(logits, {1.0, top_k, top_p, 9}, 400)) seen.push_back(count > 0);
        return seen;
    };
    CHECK(kept(0, 1.0) == std::vector<bool>{true, true, true, true});
    CHECK(kept(1, 1.0) == std::vector<bool>{false, true, false, false});
    CHECK(kept(2, 1.0) == std::vector<bool>{false, true, true, false});
    CHECK(kept(3, 1.0) == std::vector<bool>{true, true, true, false});  // of equals the lower id
    CHECK(kept(0, 0.49) == std::vector<bool>{false, true, false, false});
    CHECK(kept(0, 0.51) == std::vector<bool>{false, true, true, false});
    CHECK(kept(0, 1e-9) == std::vector<bool>{false, true, false, false});
    CHECK(kept(100, 0.8) == std::vector<bool>{true, true, true, false});
}

TEST_CASE("the same seed draws the same tokens, another seed or sequence others", "[generate]") {
    const std::vector<float> logits(1000, 0.0f);
    const auto tokens = [&](uint64_t seed, uint64_t sequence) {
        std::vector<int32_t> drawn;
        for (uint64_t i = 0; i < 20; ++i) drawn.push_back(next_token(logits, {1.0, 0, 1.0, seed}, sequence, i));
        return drawn;
    };
    CHECK(tokens(1, 0) == tokens(1, 0));
    CHECK(tokens(1, 0) != tokens(2, 0));
    CHECK(tokens(1, 0) != tokens(1, 1));
}
