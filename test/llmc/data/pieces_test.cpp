// Long texts in pieces.
#include "llmc/data/pieces.h"

#include <numeric>

#include "llmc/core/error.h"
#include "test/catch.h"

using namespace llmc;

TEST_CASE("pieces predict every token of a text once", "[formats]") {
    for (const int64_t length : {1, 2, 3, 7, 8, 9, 20})
        for (const int64_t most : {2, 3, 7, 8, 9, 100}) {
            CAPTURE(length, most);
            Example whole;
            whole.index = 4;
            whole.input_ids.resize(static_cast<size_t>(length));
            std::iota(whole.input_ids.begin(), whole.input_ids.end(), 10);
            whole.labels = whole.input_ids;
            whole.labels.front() = kIgnoreLabel;
            std::vector<int32_t> predicted;
            for (const Example& piece : pieces_of(whole, most)) {
                CHECK(piece.index == 4);
                CHECK(std::ssize(piece.input_ids) <= most);
                REQUIRE(piece.labels.size() == piece.input_ids.size());
                CHECK(piece.labels.front() == kIgnoreLabel);
                for (size_t i = 1; i < piece.labels.size(); ++i) {
                    CHECK(piece.labels[i] == piece.input_ids[i]);
                    predicted.push_back(piece.labels[i]);
                }
            }
            CHECK(predicted == std::vector<int32_t>(whole.input_ids.begin() + 1, whole.input_ids.end()));
        }
    CHECK_THROWS_AS(pieces_of({{1, 2, 3}, {1, 2, 3}, 0}, 1), Error);
}
