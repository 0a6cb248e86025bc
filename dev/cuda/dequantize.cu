// Turns the sums of an int8 product back into floats: from a thread a row to the kernels that the program runs.
//
//   dequantize_rows        y[n,o] = row_scale[n] col_scale[o] sums[n,o]                                backward
//   dequantize_rows_bias   y[n,o] = row_scale[n] col_scale[o] sums[n,o] + bias[o]
//   dequantize_joint       y[n,o] = row_scale[n] col_scale[o] sums[n,o] + bias[o] + sum_k z[n,k] wz[o,k]    forward
//
// n: tokens; o: outputs of a linear; k, the terms: rank and outlier channels. `y` is written (=). The program
// dequantises a tile of sums at a time, while they lie in L2 (int8_gemm.cuh); here they come from memory.
//
//   dequantize_rows    kernel 1   a thread a row: neighbours of a warp read addresses a row apart, 32 transactions for
//                                 one
//                      kernel 2   a thread an element: neighbours read neighbours, and each reads its two scales
//                      kernel 3   llmc/cuda/quantize.cuh: a thread eight neighbours, 16 bytes a load, the row's scale
//                                 read once for them
//   dequantize_joint   kernel 1   a thread an element: every operand comes from memory, an element at a time
//                      kernel 2   dequantize_rows, and cuBLASLt, which reads and writes all of y once more
//                      kernel 3   llmc/cuda/gemm/dequantize_joint.cuh: tensor cores, whose accumulators begin with the
//                                 dequantised sums; 128 columns and 64 or 128 rows a block
//
// Bytes: sums read, y written; z and wz read.
#include "dev/cuda/common.cuh"
#include "llmc/cpu/gemm/gemm.h"
#include "llmc/cpu/gemm/int8_ways.h"
#include "llmc/cuda/gemm/dequantize_joint.cuh"

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
        .shape = {n, outputs},
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

template <class T>
__global__ void dequantize_joint_kernel1(Matrix<T> y, Matrix<const int32_t> sums, const float* row_scale,
                                         const float* col_scale, const T* bias, Matrix<const T> z, Matrix<const T> wz) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    const int64_t n = index / y.cols, o = index % y.cols;
    if (n >= y.rows) return;
    float sum = 0;
    for (int64_t k = 0; k < z.cols; k++) sum += to_float(z(n, k)) * to_float(wz(o, k));
    y(n, o) = from_float<T>(row_scale[n] * col_scale[o] * static_cast<float>(sums(n, o)) + to_float(bias[o]) + sum);
}

template <class T>
void joint(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], outputs = shape[1], terms = shape[2];
    // As the program plans them: rows that begin at multiples of 16 bytes, with anything behind the last column.
    const Tensor<int32_t> sums(n, cuda::round_up(outputs, 16), 1);
    const Tensor<T> z_memory(n, cuda::round_up(terms, 8), 2), wz_memory(outputs, z_memory.cols(), 3);
    const Matrix<const T> z = z_memory.view().columns(0, terms), wz = wz_memory.view().columns(0, terms);
    const Tensor<float> row_scale(1, n, 4, 1.0f / 1024), col_scale(1, outputs, 5, 1.0f / 1024);
    const Tensor<T> bias(1, outputs, 6), y(n, outputs);
    HostMatrix<double> expected(n, outputs);
    // Kernel 2 rounds to T three times: what is dequantised, below 2; the product, below that and the result together;
    // and the result. The others round once. The terms are summed up in fp32, whose roundings are of sums up to 16.
    const double u = unit_roundoff<T>();
    const Tolerance allowed = rounded_to<T>({u, 4 * u + 0x1p-22 * static_cast<double>(terms) + 2e-6});
    bench.run({
        .name = "dequantize_joint",
        .shape = shape,
        .work = moved(sums.bytes() + y.bytes() + z_memory.bytes() + wz_memory.bytes()),
        .reference =
            [&] {
                const auto host_sums = sums.download();
                const auto rows = row_scale.host<double>(), cols = col_scale.host<double>();
                const auto addend = bias.template host<double>();
                for (int64_t i = 0; i < n; i++) {
                    for (int64_t o = 0; o < outputs; o++)
                        expected(i, o) = rows(0, i) * cols(0, o) * host_sums[static_cast<size_t>(i * sums.cols() + o)] +
                                         addend(0, o);
                }
                const HostMatrix<double> host_z = z_memory.template host<double>(),
                                         host_wz = wz_memory.template host<double>();
                cpu::gemm_nt<double>({}, expected, Matrix<const double>(host_z).columns(0, terms),
                                     Matrix<const double>(host_wz).columns(0, terms), 1, 1);
            },
        .outputs = {written("y", y, expected, allowed)},
        .versions = {{1,
                      "a thread an element",
                      {128, 256},
                      [&](int block) {
                          cuda::launch(device, "dequantize_joint_kernel1", dequantize_joint_kernel1<T>,
                                       blocks(n * outputs, block), block, 0, y, sums, row_scale.data(),
                                       col_scale.data(), bias.data(), z, wz);
                      }},
                     {2,
                      "dequantize_rows, cuBLASLt",
                      {},
                      [&](int) {
                          cuda::dequantize_rows<T>(device, y, sums, row_scale.data(), col_scale.data(), bias.data());
                          cuda::gemm_nt<T>(device, y.view(), z, wz, 1, 1);
                      }},
                     {3,
                      "llmc: one pass, tensor cores",
                      {128, 256},
                      [&](int block) {
                          require(block == 128 || block == 256,
                                  "dequantize_joint kernel 3 has blocks of 128 or 256 threads, not ", block);
                          const auto launch = [&]<int kThreads>() {
                              if constexpr (sizeof(T) == 2)
                                  cuda::launch_dequantize_joint<kThreads, T>(device, y, sums, row_scale.data(),
                                                                             col_scale.data(), bias.data(), z, wz);
                          };
                          block == 128 ? launch.template operator()<128>() : launch.template operator()<256>();
                      },
                      sizeof(T) == 2}},
    });
}

// Timed: o_proj, down_proj and gate_up_proj of Phi-3-mini, with 2% of their channels as outliers and r = 16, and a
// tile of the sums as L2 holds it.
const Program kProgram{
    .operators = "dequantize_rows, dequantize_rows_bias, dequantize_joint",
    .dimensions = "tokens x outputs x terms",
    .odd = {{5, 64, 8}, {3, 61, 16}, {2, 1000, 35}, {67, 1, 80}, {1, 8301, 1}, {131, 264, 208}},
    .timed = {{2048, 2560, 80}, {8192, 3072, 80}, {8192, 3072, 208}, {8192, 16384, 80}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram, []<class T>(const Bench<T>& bench, const Shape& shape) {
        dequantize(bench, shape, false);
        dequantize(bench, shape, true);
        joint(bench, shape);
    });
}
