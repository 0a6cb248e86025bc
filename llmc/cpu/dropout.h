// Dropout whose mask is a function of its name (see DropoutStream) and is drawn again wherever it is needed.
//
//   mask[n,c] = word(stream, n, c) >= p 2^32
//   forward    out = mask x / (1-p)                  out may be x
//   backward   dx += mask dout / (1-p)
#pragma once

#include <algorithm>
#include <cstdint>

#include "llmc/cpu/device.h"
#include "llmc/operator_options.h"

namespace cpu {

// Calls visit(row, c, mask / (1-p)) for every element of a rows x cols matrix.
template <class T, class Visit>
void for_each_dropout_factor(const Device& device, int64_t rows, int64_t cols, float p, const DropoutStream& stream,
                             Visit visit) {
    require(p >= 0.0f && p < 1.0f, "dropout ", p, " is not in [0, 1)");
    const uint32_t threshold = dropout_threshold(p);
    const T keep = static_cast<T>(1.0 / (1.0 - static_cast<double>(p)));
    constexpr int64_t kBlock = 256;  // channels whose factors are drawn at once, four to a Philox call
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t n = 0; n < rows; n++) {
        T factor[kBlock];
        for (int64_t begin = 0; begin < cols; begin += kBlock) {
            const int64_t count = std::min(kBlock, cols - begin);
#pragma omp simd
            for (int64_t i = 0; i < (count + 3) / 4; i++) {
                const PhiloxWords words =
                    dropout_words(stream, static_cast<uint32_t>(n), static_cast<uint32_t>(begin / 4 + i));
                factor[4 * i] = words.x0 >= threshold ? keep : T{0};
                factor[4 * i + 1] = words.x1 >= threshold ? keep : T{0};
                factor[4 * i + 2] = words.x2 >= threshold ? keep : T{0};
                factor[4 * i + 3] = words.x3 >= threshold ? keep : T{0};
            }
#pragma omp simd
            for (int64_t i = 0; i < count; i++) visit(n, begin + i, factor[i]);
        }
    }
}

template <class T>
void dropout_forward(const Device& device, Matrix<T> out, ConstMatrix<T> x, float p, const DropoutStream& stream) {
    for_each_dropout_factor<T>(device, out.rows, out.cols, p, stream,
                               [=](int64_t n, int64_t c, T factor) { out(n, c) = x(n, c) * factor; });
}

template <class T>
void dropout_backward(const Device& device, Matrix<T> dx, ConstMatrix<T> dout, float p, const DropoutStream& stream) {
    for_each_dropout_factor<T>(device, dx.rows, dx.cols, p, stream,
                               [=](int64_t n, int64_t c, T factor) { dx(n, c) += dout(n, c) * factor; });
}

}  // namespace cpu
