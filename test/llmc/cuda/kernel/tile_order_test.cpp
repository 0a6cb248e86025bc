#include "llmc/cuda/kernel/tile_order.cuh"

#include <set>
#include <utility>

#include "test/catch.h"

namespace {

constexpr int kBand = 16;
constexpr int kTileRows = 128, kTileCols = 256;

}  // namespace

TEST_CASE("the order of tiles has each of them once, next to the one before in its band", "[cuda][tile_order]") {
    const int down = GENERATE(1, 15, 16, 17, 33), across = GENERATE(1, 2, 7, 40);
    const int64_t cut = GENERATE(0, 100);  // off the last row and column of tiles
    CAPTURE(down, across, cut);
    const cuda::TileOrder order(int64_t{down} * kTileRows - cut, int64_t{across} * kTileCols - cut, kTileRows,
                                kTileCols);
    REQUIRE(order.tiles() == down * across);
    std::set<std::pair<int64_t, int64_t>> seen;
    int64_t row_before = 0, col_before = 0;
    for (int index = 0; index < order.tiles(); index++) {
        const auto [first_row, first_col] = order.origin(index);
        CAPTURE(index, first_row, first_col);
        REQUIRE((first_row % kTileRows == 0 && first_col % kTileCols == 0));
        const int64_t row = first_row / kTileRows, col = first_col / kTileCols;
        REQUIRE((row >= 0 && row < down && col >= 0 && col < across));
        REQUIRE(seen.emplace(row, col).second);
        if (col == col_before) {
            REQUIRE(row == row_before + (index > 0));
        } else if (col == col_before + 1) {  // from the foot of a band's column to the head of the next
            REQUIRE((row % kBand == 0 && row / kBand == row_before / kBand));
            REQUIRE((row_before % kBand == kBand - 1 || row_before == down - 1));
        } else {  // from the end of a band to the beginning of the next
            REQUIRE((row == row_before + 1 && row % kBand == 0 && col == 0 && col_before == across - 1));
        }
        row_before = row;
        col_before = col;
    }
}
