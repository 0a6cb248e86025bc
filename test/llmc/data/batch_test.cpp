#include "llmc/data/batch.h"

#include "llmc/core/error.h"
#include "test/catch.h"

using namespace llmc;
using Ints = std::vector<int32_t>;

TEST_CASE("pack lays sequences end to end and labels the row before each labelled token", "[data][batch]") {
    const std::vector<Example> examples = {
        {{10, 11, 12, 13}, {-100, -100, 12, 13}, 7},
        {{20, 21}, {20, 99}, 3},  // the label of its first token belongs to no row; 99 is not the input's own token
        {{30}, {30}, 5},
        {{40, 41, 42}, {-100, 41, -100}, 1},
    };
    const std::vector<int64_t> all = {0, 1, 2, 3};
    const Batch batch = pack(examples, all);
    CHECK(batch.input_ids == Ints{10, 11, 12, 13, 20, 21, 30, 40, 41, 42});
    CHECK(batch.positions == Ints{0, 1, 2, 3, 0, 1, 0, 0, 1, 2});
    CHECK(batch.cu_seqlens == Ints{0, 4, 6, 7, 10});
    CHECK(batch.label_rows == Ints{1, 2, 4, 7});
    CHECK(batch.label_ids == Ints{12, 13, 99, 41});
    CHECK(batch.examples == std::vector<int64_t>{7, 3, 5, 1});
    CHECK(batch.n_tokens() == 10);
    CHECK(batch.n_sequences() == 4);
    CHECK(batch.n_labelled() == 4);
    CHECK(batch.max_sequence_length() == 4);
}

TEST_CASE("pack keeps the order it is given", "[data][batch]") {
    const std::vector<Example> examples = {{{1, 2}, {1, 2}, 0}, {{3, 4, 5}, {3, 4, 5}, 1}};
    const std::vector<int64_t> backwards = {1, 0};
    const Batch batch = pack(examples, backwards);
    CHECK(batch.input_ids == Ints{3, 4, 5, 1, 2});
    CHECK(batch.label_ids == Ints{4, 5, 2});
}

TEST_CASE("an empty batch has no rows and one boundary", "[data][batch]") {
    const Batch batch = pack(std::vector<const Example*>{});
    CHECK(batch.cu_seqlens == Ints{0});
    CHECK(batch.n_tokens() == 0);
    CHECK(batch.max_sequence_length() == 0);
    CHECK(Batch{}.max_sequence_length() == 0);
}

TEST_CASE("labels that are not aligned with their tokens are refused", "[data][batch]") {
    const std::vector<Example> examples = {{{1, 2, 3}, {1, 2}, 0}};
    const std::vector<int64_t> all = {0};
    CHECK_THROWS_AS(pack(examples, all), Error);
}
