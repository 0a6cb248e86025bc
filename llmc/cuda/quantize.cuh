// From float to int8 and the statistics that come with it. All use one rule, per row of v:
//
//   scale[n] = max_i |v[n,i]| / 127, a zero row gets 1
//   q[n,i]   = clamp(round_half_even(v[n,i] / scale[n]), -127, 127)
//
//   quantize_weight          v = W H
//   quantize_rows            v = Xh H: x, transformed (RowTransform in llmc/core/operator_options.h), Xh rounded to T
//                            outliers[n,j] = Xh[n,channels[j]], or x[n,channels[j]] where these are taken out;
//                            unless it has no columns
//   quantize_gradient_rows   v[n,o] = dy[n,o] col_scale[o]
//
//   outlier_absmax           xmax[j] = max_n |x[n,channels[j]]|
//   dequantize_columns       w[o,j] = scale[o] q[o,channels[j]]
//
// and the way back, from an integer product:
//
//   dequantize_rows          y = (row_scale[n] col_scale[o] sums[n,o] + bias[o]) H
//
// All outputs are written (=). A NaN anywhere in a row makes its scale NaN, an infinity makes it infinite, so that
// neither is rounded away: the loss shows it. `channels` lies in device memory.
//
// q is padded for the int8 GEMM: it has at least v's rows, each as long as its stride. What lies beyond v is written 0,
// and so are the columns that outliers has beyond its channels.
//
// A block owns a row and holds it in shared memory, so that it is read once: the scale is known only after all of it
// has been seen. The rotation (kernel/hadamard.cuh) happens in registers, on the way from there. held_row_* work on a
// row that is there already; the operators that produce x quantise it with them (rmsnorm.cuh, swiglu.cuh): the same
// code, the same bits. Absolute maxima are taken of the magnitude's bits, as integers: exact in any order, so that
// blocks may meet in an atomic maximum.
#pragma once

#include <span>
#include <type_traits>

#include "llmc/core/integers.h"
#include "llmc/core/operator_options.h"
#include "llmc/cuda/kernel/hadamard.cuh"
#include "llmc/cuda/kernel/row_block.cuh"

namespace cuda {

// |x| as an integer: ordered as the absolute values are, infinity above all numbers and NaN above infinity.
__device__ inline int magnitude_bits(float x) {
    return __float_as_int(x) & 0x7fffffff;
}

__device__ inline float scale_from_magnitude(int bits) {
    const float scale = __int_as_float(bits) / 127.0f;
    return scale == 0.0f ? 1.0f : scale;
}

// Divides the elements of a row by its scale: multiplies by the reciprocal, then corrects by the remainder. The
// quotient is that of a division, which takes three times as many instructions.
class Quantizer {
  public:
    __device__ explicit Quantizer(float scale) : scale_(scale), reciprocal_(1.0f / scale) {}

    // Adding 1.5 2^23 rounds half to even and leaves the integer in the low byte; it runs at four times the rate of a
    // conversion. The quotient is within 127 by construction, the clamp is for the last ulp.
    __device__ int8_t operator()(float value) const {
        const float clamped = fmaxf(-127.0f, fminf(127.0f, quotient(value)));
        return static_cast<int8_t>(__float_as_int(clamped + 12582912.0f));
    }

  private:
    __device__ float quotient(float value) const {
        // Not for a scale whose reciprocal or remainder may leave the normal numbers; nor for infinity and NaN.
        if (!(scale_ > 0x1p-96f && scale_ < 0x1p96f)) return value / scale_;
        const float near = value * reciprocal_;
        return fmaf(fmaf(-near, scale_, value), reciprocal_, near);
    }

    float scale_, reciprocal_;
};

// Stores Eight c of a row of q, which is `q_cols` long; `cols` of it are v's.
__device__ inline void store_quantized(int8_t* q, int c, int cols, int q_cols, const Eight<float>& v,
                                       const Quantizer& quantize) {
    Eight<int8_t> integers;
#pragma unroll
    for (int k = 0; k < 8; k++) integers[k] = quantize(v[k]);
    if (c + 8 > cols) {
#pragma unroll
        for (int k = 0; k < 8; k++) {
            if (c + k >= cols) integers[k] = 0;
        }
    }
    store_eight(q, c, q_cols, integers);
}

template <class T>
__device__ Eight<float> widen(const Eight<T>& eight) {
    Eight<float> wide;
#pragma unroll
    for (int k = 0; k < 8; k++) wide[k] = to_float(eight[k]);
    return wide;
}

__device__ inline int largest_magnitude(const Eight<float>& v) {
    int largest = 0;
#pragma unroll
    for (int k = 0; k < 8; k++) largest = max(largest, magnitude_bits(v[k]));
    return largest;
}

// Raises xmax[j] to at least what this row holds. xmax only grows, so looking at it first spares nearly all atomics.
template <class T>
__device__ void held_row_absmax(float* xmax, const T* held, const int32_t* channels, int count) {
    __syncthreads();  // a channel is another thread's column
    for (int j = static_cast<int>(threadIdx.x); j < count; j += static_cast<int>(blockDim.x)) {
        int* largest = reinterpret_cast<int*>(xmax + j);
        const int bits = magnitude_bits(to_float(held[channels[j]]));
        if (bits > *static_cast<volatile int*>(largest)) atomicMax(largest, bits);
    }
}

// Of absolute values, compared as magnitude_bits.
struct LargestMagnitude {
    __device__ float operator()(float a, float b) const { return __float_as_int(a) > __float_as_int(b) ? a : b; }
    static constexpr float identity = 0;
};

__device__ inline int block_magnitude(int largest) {
    return __float_as_int(block_reduce<LargestMagnitude>(__int_as_float(largest)));
}

// Makes the row in `held` that of Xh, and outliers, `outlier_cols` long. Ends with a barrier if it changes anything.
template <class T>
__device__ void held_row_outliers(T* outliers, int outlier_cols, T* held, const RowTransform& transform) {
    const int32_t* const channels = transform.channels.data();
    const int count = static_cast<int>(transform.channels.size());
    if (count > 0) {
        __syncthreads();  // a channel is another thread's column
        for (int j = static_cast<int>(threadIdx.x); j < count; j += static_cast<int>(blockDim.x)) {
            T& value = held[channels[j]];
            if (transform.s != nullptr) value = from_float<T>(to_float(value) / transform.s[j]);
            if (j < outlier_cols) outliers[j] = value;
            if (transform.s == nullptr) value = from_float<T>(0.0f);
        }
        __syncthreads();
    }
    for (int j = count + static_cast<int>(threadIdx.x); j < outlier_cols; j += static_cast<int>(blockDim.x))
        outliers[j] = from_float<T>(0.0f);
}

// One row of quantize_rows, from x's in `held`, whose last Eight is filled up with zeros. The first Eights of a thread,
// of most rows all, stay in registers between the two passes; the others are rotated again.
template <class T>
__device__ void held_row_quantize(int8_t* q, int q_cols, float* row_scale, T* outliers, int outlier_cols, T* held,
                                  int cols, const RowTransform& transform) {
    constexpr int kKept = 2;
    held_row_outliers(outliers, outlier_cols, held, transform);
    const auto transformed = [&](int c) {
        Eight<float> v{};
        if (c < cols) v = widen(held_eight(held, c));
        rotate_eight(v, static_cast<int>(transform.rotation));
        return v;
    };
    int largest = 0;
    Eight<float> kept[kKept];
#pragma unroll
    for (int i = 0; i < kKept; i++) {
        kept[i] = transformed(first_column() + i * column_step());
        largest = max(largest, largest_magnitude(kept[i]));
    }
    for (int c = first_column() + kKept * column_step(); warp_reaches(c, cols); c += column_step())
        largest = max(largest, largest_magnitude(transformed(c)));
    const float scale = scale_from_magnitude(block_magnitude(largest));
    if (threadIdx.x == 0) *row_scale = scale;
    const Quantizer quantize(scale);
#pragma unroll
    for (int i = 0; i < kKept; i++) {
        const int c = first_column() + i * column_step();
        if (c < q_cols) store_quantized(q, c, cols, q_cols, kept[i], quantize);
    }
    for (int c = first_column() + kKept * column_step(); warp_reaches(c, q_cols); c += column_step())
        store_quantized(q, c, cols, q_cols, transformed(c), quantize);
}

// A row of q beyond those of v.
__device__ inline void zero_row(int8_t* q, int q_cols) {
    for (int c = first_column(); c < q_cols; c += column_step()) store_eight(q, c, q_cols, Eight<int8_t>{});
}

template <class T>
__global__ void quantize_rows_kernel(Matrix<int8_t> q, float* row_scale, Matrix<T> outliers, Matrix<const T> x,
                                     RowTransform transform) {
    T* held = shared_memory<T>();
    const int64_t n = blockIdx.x;
    const int cols = static_cast<int>(x.cols), q_cols = static_cast<int>(q.stride);
    if (n >= x.rows) return zero_row(q.row(n), q_cols);
    for (int c = first_column(); c < cols; c += column_step()) held_eight(held, c) = load_eight(x.row(n), c, cols);
    held_row_quantize(q.row(n), q_cols, row_scale + n, outliers.row(n), static_cast<int>(outliers.cols), held, cols,
                      transform);
}

// (v[n,o] col_scale[o]) H, or v H if col_scale is null. Rows have no outliers here, so what lies beyond held_cols in a
// longer row is read again.
template <class T>
__global__ void quantize_scaled_rows_kernel(Matrix<int8_t> q, float* row_scale, Matrix<const T> v,
                                            const float* col_scale, int rotation, int held_cols) {
    T* held = shared_memory<T>();
    const int64_t n = blockIdx.x;
    const int cols = static_cast<int>(v.cols), q_cols = static_cast<int>(q.stride);
    if (n >= v.rows) return zero_row(q.row(n), q_cols);
    const auto transformed = [&](const Eight<T>& eight, int c) {
        Eight<float> product = widen(eight);
        if (col_scale != nullptr) {
            const Eight<float> factor = load_eight(col_scale, c, cols);
#pragma unroll
            for (int k = 0; k < 8; k++) product[k] *= factor[k];
        }
        rotate_eight(product, rotation);
        return product;
    };
    int largest = 0;
    for (int c = first_column(); warp_reaches(c, cols); c += column_step()) {
        const Eight<T> eight = load_eight(v.row(n), c, cols);
        if (c < held_cols) held_eight(held, c) = eight;
        largest = max(largest, largest_magnitude(transformed(eight, c)));
    }
    const float scale = scale_from_magnitude(block_magnitude(largest));
    if (threadIdx.x == 0) row_scale[n] = scale;
    const Quantizer quantize(scale);
    for (int c = first_column(); warp_reaches(c, q_cols); c += column_step()) {
        const Eight<T> eight = c < held_cols ? held_eight(held, c) : load_eight(v.row(n), c, cols);
        store_quantized(q.row(n), c, cols, q_cols, transformed(eight, c), quantize);
    }
}

// A thread takes a channel of kAbsmaxRows rows.
constexpr int kAbsmaxRows = 64;

template <class T>
__global__ void outlier_absmax_kernel(float* xmax, Matrix<const T> x, const int32_t* channels, int count) {
    const int j = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
    if (j >= count) return;
    const int64_t begin = int64_t{blockIdx.x} * kAbsmaxRows;
    int largest = 0;
    for (int64_t n = begin; n < begin + kAbsmaxRows && n < x.rows; n++)
        largest = max(largest, magnitude_bits(to_float(x(n, channels[j]))));
    atomicMax(reinterpret_cast<int*>(xmax + j), largest);
}

// Makes columns c .. c+7 of y, `cols` long, from their sums: for one row or several.
template <class T>
struct Dequantize {
    Eight<float> factor;
    Eight<T> addend{};

    __device__ Dequantize(const float* col_scale, const T* bias, int64_t c, int64_t cols) {
#pragma unroll
        for (int k = 0; k < 8; k++) factor[k] = 1;
        if (col_scale != nullptr) factor = load_eight(col_scale, c, cols);
        if (bias != nullptr) addend = load_eight(bias, c, cols);
    }

    __device__ Eight<float> operator()(const Eight<int32_t>& sums, float row_scale) const {
        Eight<float> values;
#pragma unroll
        for (int k = 0; k < 8; k++)
            values[k] = row_scale * factor[k] * static_cast<float>(sums[k]) + to_float(addend[k]);
        return values;
    }
};

template <class T>
__device__ Eight<T> rounded(const Eight<float>& values) {
    Eight<T> out;
#pragma unroll
    for (int k = 0; k < 8; k++) out[k] = from_float<T>(values[k]);
    return out;
}

// The same of one row, rounded to T.
template <class T>
__device__ Eight<T> dequantize_eight(const Eight<int32_t>& sums, int64_t c, int64_t cols, float row_scale,
                                     const float* col_scale, const T* bias) {
    return rounded<T>(Dequantize<T>(col_scale, bias, c, cols)(sums, row_scale));
}

template <class T>
__global__ void dequantize_rows_kernel(Matrix<T> y, Matrix<const int32_t> sums, const float* row_scale,
                                       const float* col_scale, const T* bias, int rotation) {
    const auto [n, c] = eight_position(y.cols);
    const bool exists = n < y.rows;
    Eight<float> values{};
    if (exists) values = Dequantize<T>(col_scale, bias, c, y.cols)(load_eight(sums.row(n), c, y.cols), row_scale[n]);
    rotate_eight(values, rotation);
    if (exists) store_eight(y.row(n), c, y.cols, rounded<T>(values));
}

// Rows of up to 16,000 columns (fp32) or 32,000 (16 bits) on sm_75, whose blocks have 64 KiB; more elsewhere.
template <class T>
void quantize_rows(const Device<T>& device, Matrix<int8_t> q, float* row_scale, Matrix<T> outliers, ConstMatrix<T> x,
                   const RowTransform& transform) {
    launch(device, "quantize_rows", quantize_rows_kernel<T>, row_blocks(q.rows), row_threads(x.cols),
           held_bytes<T>(x.cols), q, row_scale, outliers, x, transform);
}

// Rows of any length.
template <class T, class D>
void quantize_scaled_rows(const Device<D>& device, const char* name, Matrix<int8_t> q, float* row_scale,
                          Matrix<const T> v, const float* col_scale, int64_t rotation) {
    constexpr int64_t kMostHeld = 40 * 1024 / sizeof(T);  // several blocks on a multiprocessor of any GPU
    const int64_t held = std::min(v.cols, kMostHeld);
    launch(device, name, quantize_scaled_rows_kernel<T>, row_blocks(q.rows), row_threads(v.cols), held_bytes<T>(held),
           q, row_scale, v, col_scale, static_cast<int>(rotation), static_cast<int>(held));
}

template <class T>
void quantize_gradient_rows(const Device<T>& device, Matrix<int8_t> q, float* row_scale, ConstMatrix<T> dy,
                            const float* col_scale) {
    quantize_scaled_rows<T>(device, "quantize_gradient_rows", q, row_scale, dy, col_scale, 0);
}

// W as the checkpoint's reader widened it, or in any other type. rotation: as in RowTransform.
template <class T, class W>
void quantize_weight(const Device<T>& device, Matrix<int8_t> q, float* scale, Matrix<W> w, int64_t rotation) {
    quantize_scaled_rows<std::remove_const_t<W>>(device, "quantize_weight", q, scale, w, nullptr, rotation);
}

// What the atomic maxima start from.
template <class D>
void clear_absmax(const Device<D>& device, float* xmax, size_t count) {
    if (count > 0) CUDA_CHECK(cudaMemsetAsync(xmax, 0, count * sizeof(float), device.stream));
}

template <class T>
void outlier_absmax(const Device<T>& device, float* xmax, ConstMatrix<T> x, std::span<const int32_t> channels) {
    const int count = static_cast<int>(channels.size());
    clear_absmax(device, xmax, channels.size());
    const int64_t row_groups = ceil_div(x.rows, kAbsmaxRows);
    launch(device, "outlier_absmax", outlier_absmax_kernel<T>,
           dim3(static_cast<unsigned>(row_groups), static_cast<unsigned>(ceil_div(count, 64))), 64, 0, xmax, x,
           channels.data(), count);
}

template <class T>
__global__ void dequantize_columns_kernel(Matrix<T> w, Matrix<const int8_t> q, const float* scale,
                                          const int32_t* channels) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    const int64_t o = index / w.cols, j = index % w.cols;
    if (o < w.rows) w(o, j) = from_float<T>(scale[o] * static_cast<float>(q(o, channels[j])));
}

// w [O,n] = columns `channels` of the matrix that q [O,I] and scale [O] hold.
template <class T>
void dequantize_columns(const Device<T>& device, Matrix<T> w, Matrix<const int8_t> q, const float* scale,
                        std::span<const int32_t> channels) {
    constexpr int64_t kThreads = 256;
    if (w.empty()) return;
    launch(device, "dequantize_columns", dequantize_columns_kernel<T>,
           dim3(static_cast<unsigned>(ceil_div(w.size(), kThreads))), kThreads, 0, w, q, scale, channels.data());
}

// col_scale and bias may be null: 1 and 0. sums may have more rows and columns than y. rotation: as in RowTransform.
template <class T>
void dequantize_rows(const Device<T>& device, Matrix<T> y, Matrix<const int32_t> sums, const float* row_scale,
                     const float* col_scale, const std::type_identity_t<T>* bias, int64_t rotation = 0) {
    launch(device, "dequantize_rows", dequantize_rows_kernel<T>, eight_blocks(y.rows, y.cols), kEightThreads, 0, y,
           sums, row_scale, col_scale, bias, static_cast<int>(rotation));
}

}  // namespace cuda
