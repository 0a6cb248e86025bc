// The sums of an int8 product back to floats, from a thread a row to the kernel that the program runs.
//
//   y[n,o] = row_scale[n] col_scale[o] sums[n,o] + bias[o]
//
// n: tokens; o: outputs of a linear. `y` is written (=). dequantize_rows has no bias, dequantize_rows_bias has one. The
// program dequantises a tile of sums at a time, while they lie in L2 (int8_gemm.cuh); here they come from memory.
//
//   kernel 1   a thread a row: neighbours of a warp read addresses a row apart, 32 transactions for one
//   kernel 2   a thread an element: neighbours read neighbours, and each its two scales
//   kernel 3   llmc/cuda/quantize.cuh: a thread eight neighbours, 16 bytes a load, the row's scale read once for them
//
// Bytes: sums read, y written.
#include "dev/cuda/common.cuh"
#include "llmc/cpu/int8_gemm.h"
#include "llmc/cuda/quantize.cuh"

namespace {

using namespace benchmark;
using cuda::from_float, cuda::to_float;

template <class T>
__device__ T dequantized(int32_t sum, float row_scale, float col_scale, const T* bias, int64_t o) {
    const float value = row_scale * col_scale * static_cast<float>(sum);
    return from_float<T>(bias ? value + to_float(bias[o]) : value);
}

template <class T>
__global__ void dequantize_rows_kernel1(Matrix<T> y, Matrix<const int32_t> sums, const float* row_scale,
                                        const float* col_scale, const T* bias) {
    const int64_t n = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (n >= y.rows) return;
    for (int64_t o = 0; o < y.cols; o++) y(n, o) = dequantized(sums(n, o), row_scale[n], col_scale[o], bias, o);
}

template <class T>
__global__ void dequantize_rows_kernel2(Matrix<T> y, Matrix<const int32_t> sums, const float* row_scale,
                                        const float* col_scale, const T* bias) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    const int64_t n = index / y.cols, o = index % y.cols;
    if (n < y.rows) y(n, o) = dequantized(sums(n, o), row_scale[n], col_scale[o], bias, o);
}

template <class T>
void dequantize(const Bench<T>& bench, const Shape& shape, bool biased) {
    const auto& device = bench.device;
    const int64_t n = shape[0], outputs = shape[1];
    const Tensor<int32_t> sums(n, outputs, 1);  // of 20 bits: with these scales y is within 128
    const Tensor<float> row_scale(1, n, 2, 1.0f / 64), col_scale(1, outputs, 3, 1.0f / 64);
    const Tensor<T> bias(1, outputs, 4), y(n, outputs);
    const T* addend = biased ? bias.data() : nullptr;
    HostMatrix<float> expected(n, outputs);
    bench.run({
        .name = biased ? "dequantize_rows_bias" : "dequantize_rows",
        .shape = shape,
        .work = moved(sums.bytes() + y.bytes()),
        .reference =
            [&] {
                const auto host_sums = sums.download();
                const auto rows = row_scale.host<float>(), cols = col_scale.host<float>();
                const auto host_bias = bias.template host<float>();
                for (int64_t i = 0; i < n; i++)
                    cpu::dequantize_row(&expected(i, 0), host_sums.data() + i * outputs, rows(0, i), cols.data(),
                                        biased ? host_bias.data() : nullptr, outputs);
            },
        // Four fp32 roundings at the most, there and here; the bias may cancel what they are relative to, up to 1.
        .outputs = {written("y", y, expected, rounded_to<T>({4e-7, biased ? 4e-7 : 0}))},
        .versions = {{1,
                      "a thread a row",
                      {128, 32, 64, 256},
                      [&](int block) {
                          cuda::launch(device, "dequantize_rows_kernel1", dequantize_rows_kernel1<T>, blocks(n, block),
                                       block, 0, y, sums, row_scale.data(), col_scale.data(), addend);
                      }},
                     {2,
                      "a thread an element",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "dequantize_rows_kernel2", dequantize_rows_kernel2<T>,
                                       blocks(n * outputs, block), block, 0, y, sums, row_scale.data(),
                                       col_scale.data(), addend);
                      }},
                     {3,
                      "llmc: 16-byte loads",
                      {},
                      [&](int) {
                          cuda::dequantize_rows<T>(device, y, sums, row_scale.data(), col_scale.data(), addend);
                      }}},
    });
}

const Program kProgram{
    .operators = "dequantize_rows, dequantize_rows_bias",
    .dimensions = "tokens x outputs",
    .odd = {{5, 64}, {3, 61}, {2, 1000}, {67, 1}, {1, 8301}},
    .timed = {{8192, 3072}, {8192, 16384}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram, []<class T>(const Bench<T>& bench, const Shape& shape) {
        dequantize(bench, shape, false);
        dequantize(bench, shape, true);
    });
}
