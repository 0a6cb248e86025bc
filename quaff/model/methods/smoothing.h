// The scales of all channels of a layer's input, which SmoothQuant moves from X to W (scales.h).
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "llmc/core/operator_options.h"
#include "llmc/cpu/device.h"
#include "quaff/model/linear_workspace.h"
#include "quaff/model/scales.h"

namespace quaff {

template <class Device>
struct Smoothing {
    std::span<float> s;           // [I], on the device
    std::span<int32_t> channels;  // 0, 1, .. I-1, on the device

    void layout(Arena<Device>& arena, int64_t in_features) {
        arena.place(s, MemoryKind::weights, "s", in_features);
        arena.place(channels, MemoryKind::weights, "channel numbers", in_features);
    }
    void start(const Device& device) {
        fill_from_host(device, as_row(channels),
                       [&](Matrix<int32_t> host) { std::iota(host.data, host.data + host.cols, 0); });
    }
    // X diag(1/s)
    RowTransform of_input() const { return {.channels = channels, .s = s.data()}; }
};

// wmax [I] = max_o |W[o,i]| of the rows of w, and of what it holds already.
inline void column_maxima(const cpu::Device& host, std::span<float> wmax, Matrix<const float> w) {
    constexpr int64_t kColumns = 256;  // a thread's, whose maxima stay in its cache
#pragma omp parallel for num_threads(host.threads) schedule(static)
    for (int64_t begin = 0; begin < w.cols; begin += kColumns)
        for (int64_t o = 0; o < w.rows; o++)
            for (int64_t i = begin; i < std::min(begin + kColumns, w.cols); i++)
                wmax[static_cast<size_t>(i)] = std::max(wmax[static_cast<size_t>(i)], std::abs(w(o, i)));
}

}  // namespace quaff
