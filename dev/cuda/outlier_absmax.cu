// The largest magnitude of each outlier channel, alone and fused with the operators before it.
//
//   xmax[j] = max_n |x[n, channels[j]]|
//
//   outlier_absmax   of x as it lies in memory
//   rmsnorm_absmax   behind RMSNorm with its residual: x = out of rmsnorm.cu
//   swiglu_absmax    behind SwiGLU:                    x = out of swiglu.cu
//
// n: tokens; j: some 2% of the channels. `xmax` is written (=).
//
//   outlier_absmax   kernel 1   a thread a channel walks all rows: a few dozen threads for the whole GPU
//                    kernel 2   a thread an element: enough threads, but all of a channel meet in one atomic maximum
//                    kernel 3   a block a channel: each thread its share of the rows, maximum by shuffles, no atomics
//                    kernel 4   llmc/cuda/quantize.cuh: a thread a channel of 64 rows, whose neighbours read the same
//                               rows; an atomic for 64 elements
//   rmsnorm_absmax   kernel 1   rmsnorm_forward; outlier_absmax
//                    kernel 2   llmc/cuda/rmsnorm.cuh: one kernel, while the row is held; the same bits
//   swiglu_absmax    kernel 1   swiglu_forward; outlier_absmax
//                    kernel 2   llmc/cuda/swiglu.cuh: one kernel, while the row is held; the same bits
//
// Bytes: of outlier_absmax the 32-byte sectors that hold an outlier channel, which memory delivers whole; of the others
// what the operator before it moves.
#include <set>

#include "dev/cuda/common.cuh"
#include "llmc/cpu/rmsnorm.h"
#include "llmc/cpu/swiglu.h"
#include "llmc/cuda/rmsnorm.cuh"
#include "llmc/cuda/swiglu.cuh"

namespace {

using namespace benchmark;
using cuda::magnitude_bits, cuda::to_float;

constexpr float kEps = 1e-5f;

template <class T>
__global__ void outlier_absmax_kernel1(float* xmax, Matrix<const T> x, const int32_t* channels, int count) {
    const int64_t j = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (j >= count) return;
    int largest = 0;
    for (int64_t n = 0; n < x.rows; n++) largest = max(largest, magnitude_bits(to_float(x(n, channels[j]))));
    xmax[j] = __int_as_float(largest);
}

// xmax has been set to 0. Magnitudes are compared as the integers that their bits are.
template <class T>
__global__ void outlier_absmax_kernel2(float* xmax, Matrix<const T> x, const int32_t* channels, int count) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    const int64_t n = index / count, j = index % count;
    if (n < x.rows) atomicMax(reinterpret_cast<int*>(xmax + j), magnitude_bits(to_float(x(n, channels[j]))));
}

template <class T>
__global__ void outlier_absmax_kernel3(float* xmax, Matrix<const T> x, const int32_t* channels) {
    const int j = static_cast<int>(blockIdx.x);
    int largest = 0;
    for (int64_t n = threadIdx.x; n < x.rows; n += blockDim.x)
        largest = max(largest, magnitude_bits(to_float(x(n, channels[j]))));
    largest = cuda::block_magnitude(largest);
    if (threadIdx.x == 0) xmax[j] = __int_as_float(largest);
}

std::vector<int32_t> outlier_channels(int64_t channels) {
    std::vector<int32_t> numbers;
    for (int64_t c = channels / 64; c < channels; c += 50) numbers.push_back(static_cast<int32_t>(c));
    return numbers;
}

template <class T>
int64_t sector_bytes(int64_t rows, const std::vector<int32_t>& channels) {
    constexpr int64_t kSector = 32;
    std::set<int64_t> sectors;
    for (const int64_t c : channels) sectors.insert(c * static_cast<int64_t>(sizeof(T)) / kSector);
    return rows * kSector * static_cast<int64_t>(sectors.size());
}

template <class T>
void alone(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0];
    const auto numbers = outlier_channels(shape[1]);
    const int count = static_cast<int>(numbers.size());
    const Tensor<T> x(n, shape[1], 1, 3);
    const Tensor<int32_t> channels(numbers);
    const Tensor<float> xmax(1, count);
    HostMatrix<float> expected(1, count);
    bench.run({
        .name = "outlier_absmax",
        .shape = shape,
        .work = moved(sector_bytes<T>(n, numbers)),
        .reference = [&] { cpu::outlier_absmax({}, expected.data(), x.template host<float>(), numbers); },
        .outputs = {written("xmax", xmax, expected, {})},
        .versions = {{1,
                      "a thread a channel",
                      {32, 64, 128, 256},
                      [&](int block) {
                          cuda::launch(device, "outlier_absmax_kernel1", outlier_absmax_kernel1<T>,
                                       blocks(count, block), block, 0, xmax.data(), x, channels.data(), count);
                      }},
                     {2,
                      "a thread an element, all atomic",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::clear_absmax(device, xmax.data(), numbers.size());
                          cuda::launch(device, "outlier_absmax_kernel2", outlier_absmax_kernel2<T>,
                                       blocks(n * count, block), block, 0, xmax.data(), x, channels.data(), count);
                      }},
                     {3,
                      "a block a channel",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "outlier_absmax_kernel3", outlier_absmax_kernel3<T>,
                                       dim3(static_cast<unsigned>(count)), block, 0, xmax.data(), x, channels.data());
                      }},
                     {4,
                      "llmc: a thread 64 rows, then atomic",
                      {},
                      [&](int) { cuda::outlier_absmax<T>(device, xmax.data(), x, channels.span()); }}},
    });
}

// What may differ behind an operator whose sums run in another order than the CPU's: a value of `out` is rounded to T
// the other way, and with it the largest of its channel.
template <class T>
Tolerance behind() {
    return {2 * unit_roundoff<T>() + 4e-6, 1e-7};
}

template <class T>
void behind_rmsnorm(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], cols = shape[1];
    const auto numbers = outlier_channels(cols);
    const int64_t count = static_cast<int64_t>(numbers.size());
    const Tensor<T> x(n, cols, 1), y(n, cols, 2), weight(1, cols, 3), out(n, cols), r(n, cols);
    const Tensor<int32_t> channels(numbers);
    const Tensor<float> rstd(1, n), xmax(1, count);
    HostMatrix<float> expected(n, cols), expected_max(1, count);
    bench.run({
        .name = "rmsnorm_absmax",
        .shape = shape,
        .work = moved(4 * x.bytes()),
        .reference =
            [&] {
                auto sum = x.template host<float>();
                const auto addend = y.template host<float>();
                HostMatrix<float> host_rstd(1, n);
                for (int64_t i = 0; i < n * cols; i++) sum.data()[i] += addend.data()[i];
                round_to<T>(sum);
                cpu::rmsnorm_forward<float>({}, expected, sum, host_rstd.data(), sum, {},
                                            {weight.template host<float>().data()}, kEps);
                round_to<T>(expected);
                cpu::outlier_absmax({}, expected_max.data(), expected, numbers);
            },
        .outputs = {written("out", out, expected, behind<T>()), written("xmax", xmax, expected_max, behind<T>())},
        .versions = {{1,
                      "rmsnorm_forward, then outlier_absmax",
                      {},
                      [&](int) {
                          cuda::rmsnorm_forward<T>(device, out, r, rstd.data(), x, y, {weight.data()}, kEps);
                          cuda::outlier_absmax<T>(device, xmax.data(), out, channels.span());
                      }},
                     {2,
                      "llmc: one kernel",
                      {},
                      [&](int) {
                          cuda::rmsnorm_forward_absmax<T>(device, out, r, rstd.data(), xmax.data(), x, y,
                                                          {weight.data()}, kEps, channels.span());
                      }}},
    });
}

template <class T>
void behind_swiglu(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], cols = shape[1];
    const auto numbers = outlier_channels(cols);
    const int64_t count = static_cast<int64_t>(numbers.size());
    const Tensor<T> gate_up(n, 2 * cols, 1, 3), out(n, cols);
    const Tensor<int32_t> channels(numbers);
    const Tensor<float> xmax(1, count);
    HostMatrix<float> expected(n, cols), expected_max(1, count);
    bench.run({
        .name = "swiglu_absmax",
        .shape = shape,
        .work = moved(gate_up.bytes() + out.bytes()),
        .reference =
            [&] {
                cpu::swiglu_forward<float>({}, expected, gate_up.template host<float>());
                round_to<T>(expected);
                cpu::outlier_absmax({}, expected_max.data(), expected, numbers);
            },
        .outputs = {written("out", out, expected, behind<T>()), written("xmax", xmax, expected_max, behind<T>())},
        .versions = {{1,
                      "swiglu_forward, then outlier_absmax",
                      {},
                      [&](int) {
                          cuda::swiglu_forward<T>(device, out, gate_up);
                          cuda::outlier_absmax<T>(device, xmax.data(), out, channels.span());
                      }},
                     {2,
                      "llmc: one kernel",
                      {},
                      [&](int) {
                          cuda::swiglu_forward_absmax<T>(device, out, xmax.data(), gate_up, channels.span());
                      }}},
    });
}

const Program kProgram{
    .operators = "outlier_absmax, rmsnorm_absmax, swiglu_absmax",
    .dimensions = "tokens x channels",
    .odd = {{5, 64}, {300, 61}, {2, 1000}, {67, 1}, {1, 8301}},
    .timed = {{8192, 3072}, {8192, 8192}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram, []<class T>(const Bench<T>& bench, const Shape& shape) {
        alone(bench, shape);
        behind_rmsnorm(bench, shape);
        behind_swiglu(bench, shape);
    });
}
