// SwiGLU on the joint output of gate_proj and up_proj, from a thread a row to the kernel that the program runs.
//
//   out = g sigmoid(a) u
//
// backward:
//   du  = dout g sigmoid(a)
//   dg  = dout u sigmoid(a) (1 + g a' (1 - sigmoid(a)))
//
// a is g itself in SiLU, whose number in a shape is 0, and llmc/core/gate.h's polynomial in tanh-GELU, 1.
//
// n: tokens; f: channels of out. g is gate_up[n,f], u is gate_up[n, channels + f]; dg and du likewise. All outputs are
// written (=).
//
//   kernel 1   a thread a row: neighbours of a warp read addresses a row apart, 32 transactions for one
//   kernel 2   a thread an element: neighbours read neighbours, two bytes each
//   kernel 3   llmc/cuda/swiglu.cuh: a thread eight neighbours, 16 bytes a load
//
// quantize_rows.cu fuses it with the quantisation that follows. Bytes: forward reads gate_up and writes out; backward
// reads gate_up and dout and writes dgate_up.
#include "dev/cuda/common.cuh"
#include "llmc/cpu/swiglu.h"
#include "llmc/cuda/swiglu.cuh"

namespace {

using namespace benchmark;
using cuda::from_float, cuda::to_float;

__device__ inline float argument(Gate gate, float g) {
    return gate == Gate::silu ? gate_argument<Gate::silu>(g) : gate_argument<Gate::gelu_tanh>(g);
}
__device__ inline float growth(Gate gate, float g) {
    return gate == Gate::silu ? gate_argument_growth<Gate::silu>(g) : gate_argument_growth<Gate::gelu_tanh>(g);
}

template <class T>
__device__ void forward_element(const Matrix<T>& out, const Matrix<const T>& gate_up, Gate gate, int64_t n, int64_t f) {
    const float g = to_float(gate_up(n, f)), u = to_float(gate_up(n, out.cols + f));
    out(n, f) = from_float<T>(g / (1 + expf(-argument(gate, g))) * u);
}

template <class T>
__device__ void backward_element(const Matrix<T>& dgate_up, const Matrix<const T>& dout, const Matrix<const T>& gate_up,
                                 Gate gate, int64_t n, int64_t f) {
    const float g = to_float(gate_up(n, f)), u = to_float(gate_up(n, dout.cols + f)), d = to_float(dout(n, f));
    const float sigmoid = 1 / (1 + expf(-argument(gate, g)));
    dgate_up(n, dout.cols + f) = from_float<T>(d * g * sigmoid);
    dgate_up(n, f) = from_float<T>(d * u * sigmoid * (1 + growth(gate, g) * (1 - sigmoid)));
}

template <class T>
__global__ void swiglu_forward_kernel1(Matrix<T> out, Matrix<const T> gate_up, Gate gate) {
    const int64_t n = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (n >= out.rows) return;
    for (int64_t f = 0; f < out.cols; f++) forward_element(out, gate_up, gate, n, f);
}

template <class T>
__global__ void swiglu_forward_kernel2(Matrix<T> out, Matrix<const T> gate_up, Gate gate) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (index < out.size()) forward_element(out, gate_up, gate, index / out.cols, index % out.cols);
}

template <class T>
__global__ void swiglu_backward_kernel1(Matrix<T> dgate_up, Matrix<const T> dout, Matrix<const T> gate_up, Gate gate) {
    const int64_t n = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (n >= dout.rows) return;
    for (int64_t f = 0; f < dout.cols; f++) backward_element(dgate_up, dout, gate_up, gate, n, f);
}

template <class T>
__global__ void swiglu_backward_kernel2(Matrix<T> dgate_up, Matrix<const T> dout, Matrix<const T> gate_up, Gate gate) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (index < dout.size()) backward_element(dgate_up, dout, gate_up, gate, index / dout.cols, index % dout.cols);
}

template <class T>
void forward(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], channels = shape[1];
    const Gate gate = shape[2] == 0 ? Gate::silu : Gate::gelu_tanh;
    const Tensor<T> gate_up(n, 2 * channels, 1, 3), out(n, channels);
    HostMatrix<double> expected(n, channels);
    bench.run({
        .name = "swiglu_forward",
        .shape = shape,
        .work = moved(gate_up.bytes() + out.bytes()),
        .reference = [&] { cpu::swiglu_forward<double>({}, expected, gate_up.template host<double>(), gate); },
        // An exponential of 2 ulp, a sum, a quotient and a product.
        .outputs = {written("out", out, expected, rounded_to<T>({5e-7, 0}))},
        .versions = {{1,
                      "a thread a row",
                      {128, 32, 64, 256},
                      [&](int block) {
                          cuda::launch(device, "swiglu_forward_kernel1", swiglu_forward_kernel1<T>, blocks(n, block),
                                       block, 0, out, gate_up, gate);
                      }},
                     {2,
                      "a thread an element",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "swiglu_forward_kernel2", swiglu_forward_kernel2<T>,
                                       blocks(n * channels, block), block, 0, out, gate_up, gate);
                      }},
                     {3, "llmc: 16-byte loads", {}, [&](int) { cuda::swiglu_forward<T>(device, out, gate_up, gate); }}},
    });
}

template <class T>
void backward(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], channels = shape[1];
    const Gate gate = shape[2] == 0 ? Gate::silu : Gate::gelu_tanh;
    const Tensor<T> gate_up(n, 2 * channels, 1, 3), dout(n, channels, 2), dgate_up(n, 2 * channels);
    HostMatrix<double> expected(n, 2 * channels);
    bench.run({
        .name = "swiglu_backward",
        .shape = shape,
        .work = moved(gate_up.bytes() + dout.bytes() + dgate_up.bytes()),
        .reference =
            [&] {
                cpu::swiglu_backward<double>({}, expected, dout.template host<double>(),
                                             gate_up.template host<double>(), gate);
            },
        // 1 + g (1 - sigmoid(g)) crosses zero: what is left of terms of about 1 keeps their fp32 roundings.
        .outputs = {written("dgate_up", dgate_up, expected, rounded_to<T>({1e-6, 1e-6}))},
        .versions = {{1,
                      "a thread a row",
                      {128, 32, 64, 256},
                      [&](int block) {
                          cuda::launch(device, "swiglu_backward_kernel1", swiglu_backward_kernel1<T>, blocks(n, block),
                                       block, 0, dgate_up, dout, gate_up, gate);
                      }},
                     {2,
                      "a thread an element",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "swiglu_backward_kernel2", swiglu_backward_kernel2<T>,
                                       blocks(n * channels, block), block, 0, dgate_up, dout, gate_up, gate);
                      }},
                     {3,
                      "llmc: 16-byte loads",
                      {},
                      [&](int) { cuda::swiglu_backward<T>(device, dgate_up, dout, gate_up, gate); }}},
    });
}

const Program kProgram{
    .operators = "swiglu_forward, swiglu_backward",
    .dimensions = "tokens x channels x gate",
    .odd = {{5, 64, 0}, {3, 61, 1}, {2, 1000, 1}, {67, 1, 0}, {1, 8301, 1}},
    .timed = {{8192, 8192, 0}, {2048, 14336, 0}, {8192, 8192, 1}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram, []<class T>(const Bench<T>& bench, const Shape& shape) {
        forward(bench, shape);
        backward(bench, shape);
    });
}
