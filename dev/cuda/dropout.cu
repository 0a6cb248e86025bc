// Dropout whose mask is drawn again wherever it is needed, from a draw for every element to the kernel that the program
// runs.
//
//   mask[n,c] = bits(stream, n, c) >= p 2^16         sixteen bits a channel, eight channels a Philox call
//   forward    out = mask x / (1-p)
//   backward   dx += mask dout / (1-p)
//
// n: tokens; c: channels. `out` is written (=), `dx` is accumulated (+=).
//
//   kernel 1   a thread an element: of each Philox call, forty multiplications, an eighth is used
//   kernel 2   a thread eight neighbours: a call for them, and eight loads 16 bytes apart from the next thread's
//   kernel 3   llmc/cuda/dropout.cuh: the eight in one load of 16 bytes
//
// Bytes: forward reads x and writes out; backward reads dout and dx and writes dx.
#include "dev/cuda/common.cuh"
#include "llmc/cpu/dropout.h"
#include "llmc/cuda/dropout.cuh"

namespace {

using namespace benchmark;
using cuda::from_float, cuda::to_float;

constexpr float kProbability = 0.1f;
constexpr DropoutStream kStream{.seed = 0x123456789, .micro_batch = 7, .layer_id = 3};

template <class T>
__device__ T dropped(T x, float factor) {
    return from_float<T>(to_float(x) * factor);
}
template <class T>
__device__ T accumulated(T dx, T dout, float factor) {
    return from_float<T>(fmaf(to_float(dout), factor, to_float(dx)));
}

template <class T>
__global__ void dropout_forward_kernel1(Matrix<T> out, Matrix<const T> x, float p, DropoutStream stream) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    const int64_t n = index / x.cols, c = index % x.cols;
    if (n < x.rows) out(n, c) = dropped(x(n, c), cuda::dropout_factors(stream, n, c / 8 * 8, p)[c % 8]);
}

template <class T>
__global__ void dropout_forward_kernel2(Matrix<T> out, Matrix<const T> x, float p, DropoutStream stream) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, eights = cuda::ceil_div(x.cols, 8);
    const int64_t n = index / eights, c = index % eights * 8;
    if (n >= x.rows) return;
    const cuda::Eight<float> factors = cuda::dropout_factors(stream, n, c, p);
    for (int k = 0; k < 8 && c + k < x.cols; k++) out(n, c + k) = dropped(x(n, c + k), factors[k]);
}

template <class T>
__global__ void dropout_backward_kernel1(Matrix<T> dx, Matrix<const T> dout, float p, DropoutStream stream) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    const int64_t n = index / dx.cols, c = index % dx.cols;
    if (n >= dx.rows) return;
    dx(n, c) = accumulated(dx(n, c), dout(n, c), cuda::dropout_factors(stream, n, c / 8 * 8, p)[c % 8]);
}

template <class T>
__global__ void dropout_backward_kernel2(Matrix<T> dx, Matrix<const T> dout, float p, DropoutStream stream) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, eights = cuda::ceil_div(dx.cols, 8);
    const int64_t n = index / eights, c = index % eights * 8;
    if (n >= dx.rows) return;
    const cuda::Eight<float> factors = cuda::dropout_factors(stream, n, c, p);
    for (int k = 0; k < 8 && c + k < dx.cols; k++) dx(n, c + k) = accumulated(dx(n, c + k), dout(n, c + k), factors[k]);
}

template <class T>
void forward(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], channels = shape[1];
    const Tensor<T> x(n, channels, 1), out(n, channels);
    HostMatrix<float> expected(n, channels);
    bench.run({
        .name = "dropout_forward",
        .shape = shape,
        .work = moved(2 * x.bytes()),
        .reference =
            [&] { cpu::dropout_forward<float>({}, expected, x.template host<float>(), kProbability, kStream); },
        .outputs = {written("out", out, expected, rounded_to<T>({}))},
        .versions = {{1,
                      "a thread an element, a draw each",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "dropout_forward_kernel1", dropout_forward_kernel1<T>,
                                       blocks(n * channels, block), block, 0, out, x, kProbability, kStream);
                      }},
                     {2,
                      "a draw for eight, a load each",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "dropout_forward_kernel2", dropout_forward_kernel2<T>,
                                       blocks(n * cuda::ceil_div(channels, 8), block), block, 0, out, x, kProbability,
                                       kStream);
                      }},
                     {3,
                      "llmc: 16-byte loads",
                      {},
                      [&](int) { cuda::dropout_forward<T>(device, out, x, kProbability, kStream); }}},
    });
}

template <class T>
void backward(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], channels = shape[1];
    const Tensor<T> dout(n, channels, 1), before(n, channels, 2), dx(n, channels, 2);
    HostMatrix<float> expected(0, 0);
    bench.run({
        .name = "dropout_backward",
        .shape = shape,
        .work = moved(3 * dx.bytes()),
        .reference =
            [&] {
                expected = before.template host<float>();
                cpu::dropout_backward<float>({}, expected, dout.template host<float>(), kProbability, kStream);
            },
        // The CPU rounds the product, of up to 1.2, before it adds.
        .outputs = {updated("dx", dx, before, expected, rounded_to<T>({1e-7, 1e-7}))},
        .versions = {{1,
                      "a thread an element, a draw each",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "dropout_backward_kernel1", dropout_backward_kernel1<T>,
                                       blocks(n * channels, block), block, 0, dx, dout, kProbability, kStream);
                      }},
                     {2,
                      "a draw for eight, a load each",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "dropout_backward_kernel2", dropout_backward_kernel2<T>,
                                       blocks(n * cuda::ceil_div(channels, 8), block), block, 0, dx, dout, kProbability,
                                       kStream);
                      }},
                     {3,
                      "llmc: 16-byte loads",
                      {},
                      [&](int) { cuda::dropout_backward<T>(device, dx, dout, kProbability, kStream); }}},
    });
}

const Program kProgram{
    .operators = "dropout_forward, dropout_backward",
    .dimensions = "tokens x channels",
    .odd = {{5, 64}, {3, 61}, {2, 1000}, {67, 1}, {1, 8301}},
    .timed = {{8192, 3072}, {8192, 8192}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram, []<class T>(const Bench<T>& bench, const Shape& shape) {
        forward(bench, shape);
        backward(bench, shape);
    });
}
