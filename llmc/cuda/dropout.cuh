// Dropout whose mask is a function of its name (DropoutStream) and is drawn again wherever it is needed: bit for bit
// the CPU's.
//
//   mask[n,c] = bits(stream, n, c) >= p 2^16         sixteen bits a channel, eight channels a Philox call
//   forward    out = mask x / (1-p)                  out may be x
//   backward   dx += mask dout / (1-p)
//
// A thread draws the bits of one Eight, which is one Philox call.
#pragma once

#include "llmc/core/operator_options.h"
#include "llmc/cuda/kernel/row_block.cuh"

namespace cuda {

// The mask of channels c .. c+7 of row n; c is a multiple of 8.
class DropoutEight {
  public:
    __device__ DropoutEight(const DropoutStream& stream, int64_t n, int64_t c, float p)
        : words_(dropout_words(stream, static_cast<uint32_t>(n), static_cast<uint32_t>(c / 8))),
          threshold_(dropout_threshold(p)) {}

    __device__ bool keeps(int k) const {
        const uint32_t pairs[4] = {words_.x0, words_.x1, words_.x2, words_.x3};
        return (pairs[k / 2] >> (16 * (k % 2)) & 0xffff) >= threshold_;
    }

  private:
    PhiloxWords words_;
    uint32_t threshold_;
};

// mask / (1-p) of the same channels.
__device__ inline Eight<float> dropout_factors(const DropoutStream& stream, int64_t n, int64_t c, float p) {
    const DropoutEight mask(stream, n, c, p);
    const float keep = dropout_keep_factor(p);
    Eight<float> factors;
#pragma unroll
    for (int k = 0; k < 8; k++) factors[k] = mask.keeps(k) ? keep : 0.0f;
    return factors;
}

// The mask as one byte: bit k is channel c+k.
__device__ inline uint32_t dropout_bits(const DropoutStream& stream, int64_t n, int64_t c, float p) {
    const DropoutEight mask(stream, n, c, p);
    uint32_t bits = 0;
#pragma unroll
    for (int k = 0; k < 8; k++) bits |= static_cast<uint32_t>(mask.keeps(k)) << k;
    return bits;
}

template <class T>
__global__ void dropout_forward_kernel(Matrix<T> out, Matrix<const T> x, float p, DropoutStream stream) {
    const auto [n, c] = eight_position(out.cols);
    if (n >= out.rows) return;
    const Eight<float> factors = dropout_factors(stream, n, c, p);
    Eight<T> values = load_eight(x.row(n), c, out.cols);
#pragma unroll
    for (int k = 0; k < 8; k++) values[k] = from_float<T>(to_float(values[k]) * factors[k]);
    store_eight(out.row(n), c, out.cols, values);
}

template <class T>
__global__ void dropout_backward_kernel(Matrix<T> dx, Matrix<const T> dout, float p, DropoutStream stream) {
    const auto [n, c] = eight_position(dx.cols);
    if (n >= dx.rows) return;
    const Eight<float> factors = dropout_factors(stream, n, c, p);
    const Eight<T> from = load_eight(dout.row(n), c, dx.cols);
    Eight<T> sum = load_eight(dx.row(n), c, dx.cols);
#pragma unroll
    for (int k = 0; k < 8; k++) sum[k] = from_float<T>(fmaf(to_float(from[k]), factors[k], to_float(sum[k])));
    store_eight(dx.row(n), c, dx.cols, sum);
}

template <class T>
void dropout_forward(const Device<T>& device, Matrix<T> out, ConstMatrix<T> x, float p, const DropoutStream& stream) {
    require(p >= 0.0f && p < 1.0f, "dropout ", p, " is not in [0, 1)");
    launch(device, "dropout_forward", dropout_forward_kernel<T>, eight_blocks(out.rows, out.cols), kEightThreads, 0,
           out, x, p, stream);
}

template <class T>
void dropout_backward(const Device<T>& device, Matrix<T> dx, ConstMatrix<T> dout, float p,
                      const DropoutStream& stream) {
    require(p >= 0.0f && p < 1.0f, "dropout ", p, " is not in [0, 1)");
    launch(device, "dropout_backward", dropout_backward_kernel<T>, eight_blocks(dx.rows, dx.cols), kEightThreads, 0, dx,
           dout, p, stream);
}

}  // namespace cuda
