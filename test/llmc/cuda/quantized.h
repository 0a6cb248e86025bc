// What the tests of quantising operators compare: int8 rows, as the GPU and as the CPU makes them.
#pragma once

#include <vector>

#include "llmc/core/integers.h"
#include "llmc/cpu/quantize.h"
#include "test/llmc/cuda/device_matrix.h"

namespace cuda_test {

struct Quantized {
    std::vector<int8_t> q;  // with its padding
    std::vector<float> row_scale;
    Buffer<float> outliers;
    bool operator==(const Quantized&) const = default;
};

// What the CPU makes of the rows of v H, padded with zeros. rotation: as in RowTransform.
inline Quantized quantized_on_cpu(const Buffer<float>& v, int64_t rotation = 0) {
    const int64_t rows = v.rows(), cols = v.cols(), stride = llmc::round_up(cols, 16);
    Buffer<int8_t> q(rows, cols);
    Quantized result{std::vector<int8_t>(static_cast<size_t>(llmc::round_up(rows, 16) * stride)),
                     std::vector<float>(static_cast<size_t>(rows)), Buffer<float>(rows, 0)};
    cpu::quantize_weight(cpu::Device{2}, q.view(), result.row_scale.data(), v.view(), rotation);
    for (int64_t n = 0; n < rows; n++)
        for (int64_t c = 0; c < cols; c++) result.q[static_cast<size_t>(n * stride + c)] = q(n, c);
    return result;
}

}  // namespace cuda_test
