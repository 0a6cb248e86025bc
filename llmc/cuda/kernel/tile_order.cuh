// The order in which the tiles of a matrix product are computed.
//
// Blocks that run at the same time have neighbouring numbers. Their tiles should be neighbours in both directions, so
// that they find each other's operands in L2: tiles go down a band of 16, column by column, and then down the next
// band.
#pragma once

#include <cstdint>

#include "llmc/core/integers.h"
#include "llmc/cuda/device.cuh"

namespace cuda {

class TileOrder {
  public:
    struct Origin {
        int64_t row, col;
    };

    __host__ __device__ TileOrder(int64_t rows, int64_t cols, int tile_rows, int tile_cols)
        : tile_rows_(tile_rows),
          tile_cols_(tile_cols),
          down_(static_cast<int>(ceil_div(rows, tile_rows))),
          across_(static_cast<int>(ceil_div(cols, tile_cols))) {}

    __host__ __device__ int tiles() const { return down_ * across_; }

    // Where tile `index` begins.
    __host__ __device__ Origin origin(int index) const {
        constexpr int kBand = 16;
        const int first = index / (kBand * across_) * kBand;
        const int in_band = index - first * across_, height = min(kBand, down_ - first);
        return {int64_t{tile_rows_} * (first + in_band % height), int64_t{tile_cols_} * (in_band / height)};
    }

  private:
    int tile_rows_, tile_cols_;
    int down_, across_;  // tiles
};

}  // namespace cuda
