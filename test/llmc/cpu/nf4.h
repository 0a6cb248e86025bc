// A matrix in NF4 for tests, with what it stands for.
#pragma once

#include <vector>

#include "llmc/cpu/nf4.h"
#include "test/llmc/cpu/operator_testing.h"

namespace llmc_test {

struct Nf4Weights {
    int64_t cols;
    Buffer<uint8_t> codes;
    std::vector<uint8_t> maxima;
    std::vector<float> group_factor;
    float mean = 0;

    explicit Nf4Weights(const Buffer<float>& w) : cols(w.cols()), codes(w.rows(), nf4_bytes(w.cols()), /*padding=*/4) {
        std::vector<float> exact(static_cast<size_t>(w.rows() * nf4_blocks(cols)));
        maxima.resize(exact.size());
        group_factor.resize(static_cast<size_t>(nf4_groups(static_cast<int64_t>(exact.size()))));
        cpu::quantize_nf4(cpu::Device{2}, codes.view(), exact.data(), w.view());
        mean = cpu::quantize_nf4_maxima(maxima, group_factor, exact);
    }

    Nf4Matrix matrix() const { return {codes.view(), cols, maxima.data(), group_factor.data(), mean}; }
    Buffer<float> dequantized() const {
        Buffer<float> dense(codes.rows(), cols);
        for (int64_t o = 0; o < dense.rows(); o++)
            for (int64_t i = 0; i < cols; i++) dense(o, i) = matrix().maximum(o, i) * matrix().level(o, i);
        return dense;
    }
};

}  // namespace llmc_test
