// SwiGLU on the joint output of gate_proj and up_proj, from a thread a row to the kernel that the program runs.
//
//   out = g sigmoid(a) u
//
// backward:
//   du  = dout g sigmoid(a)
//   dg  = dout u sigmoid(a) (1 + g a' (1 - sigmoid(a)))
//
//   swiglu_forward, swiglu_backward   a = g
//   geglu_forward, geglu_backward     the same operators with Gate::gelu_tanh: a as in llmc/core/gate.h
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

template <class T, Gate kGate>
__device__ void forward_element(const Matrix<T>& out, const Matrix<const T>& gate_up, int64_t n, int64_t f) {
    const float g = to_float(gate_up(n, f)), u = to_float(gate_up(n, out.cols + f));
    out(n, f) = from_float<T>(g / (1 + expf(-gate_argument<kGate>(g))) * u);
}

template <class T, Gate kGate>
__device__ void backward_element(const Matrix<T>& dgate_up, const Matrix<const T>& dout, const Matrix<const T>& gate_up,
                                 int64_t n, int64_t f) {
    const float g = to_float(gate_up(n, f)), u = to_float(gate_up(n, dout.cols + f)), d = to_float(dout(n, f));
    const float sigmoid = 1 / (1 + expf(-gate_argument<kGate>(g)));
    dgate_up(n, dout.cols + f) = from_float<T>(d * g * sigmoid);
    dgate_up(n, f) = from_float<T>(d * u * sigmoid * (1 + gate_argument_growth<kGate>(g) * (1 - sigmoid)));
}

template <class T, Gate kGate>
__global__ void swiglu_forward_kernel1(Matrix<T> out, Matrix<const T> gate_up) {
    const int64_t n = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (n >= out.rows) return;
    for (int64_t f = 0; f < out.cols; f++) forward_element<T, kGate>(out, gate_up, n, f);
}

template <class T, Gate kGate>
__global__ void swiglu_forward_kernel2(Matrix<T> out, Matrix<const T> gate_up) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (index < out.size()) forward_element<T, kGate>(out, gate_up, index / out.cols, index % out.cols);
}

template <class T, Gate kGate>
__global__ void swiglu_backward_kernel1(Matrix<T> dgate_up, Matrix<const T> dout, Matrix<const T> gate_up) {
    const int64_t n = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (n >= dout.rows) return;
    for (int64_t f = 0; f < dout.cols; f++) backward_element<T, kGate>(dgate_up, dout, gate_up, n, f);
}

template <class T, Gate kGate>
__global__ void swiglu_backward_kernel2(Matrix<T> dgate_up, Matrix<const T> dout, Matrix<const T> gate_up) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (index < dout.size()) backward_element<T, kGate>(dgate_up, dout, gate_up, index / dout.cols, index % dout.cols);
}

template <Gate kGate, class T>
void forward(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], channels = shape[1];
    const Tensor<T> gate_up(n, 2 * channels, 1, 3), out(n, channels);
    HostMatrix<double> expected(n, channels);
    bench.run({
        .name = kGate == Gate::silu ? "swiglu_forward" : "geglu_forward",
        .shape = shape,
        .work = moved(gate_up.bytes() + out.bytes()),
        .reference = [&] { cpu::swiglu_forward<double>({}, expected, gate_up.template host<double>(), kGate); },
        // An exponential of 2 ulp, a sum, a quotient and a product. The tanh gate's a is off by 2 ulp, which e^-a
        // carries a times: a is up to 7 here.
        .outputs = {written("out", out, expected, rounded_to<T>({kGate == Gate::silu ? 5e-7 : 2e-6, 0}))},
        .versions =
            {{1,
              "a thread a row",
              {128, 32, 64, 256},
              [&](int block) {
                  cuda::launch(device, "swiglu_forward_kernel1", swiglu_forward_kernel1<T, kGate>, blocks(n, block),
                               block, 0, out, gate_up);
              }},
             {2,
              "a thread an element",
              {256, 32, 64, 128, 512, 1024},
              [&](int block) {
                  cuda::launch(device, "swiglu_forward_kernel2", swiglu_forward_kernel2<T, kGate>,
                               blocks(n * channels, block), block, 0, out, gate_up);
              }},
             {3, "llmc: 16-byte loads", {}, [&](int) { cuda::swiglu_forward<T>(device, out, gate_up, kGate); }}},
    });
}

template <Gate kGate, class T>
void backward(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], channels = shape[1];
    const Tensor<T> gate_up(n, 2 * channels, 1, 3), dout(n, channels, 2), dgate_up(n, 2 * channels);
    HostMatrix<double> expected(n, 2 * channels);
    bench.run({
        .name = kGate == Gate::silu ? "swiglu_backward" : "geglu_backward",
        .shape = shape,
        .work = moved(gate_up.bytes() + dout.bytes() + dgate_up.bytes()),
        .reference =
            [&] {
                cpu::swiglu_backward<double>({}, expected, dout.template host<double>(),
                                             gate_up.template host<double>(), kGate);
            },
        // 1 + g (1 - sigmoid(g)) crosses zero: what is left of terms of about 1 keeps their fp32 roundings.
        .outputs = {written("dgate_up", dgate_up, expected, rounded_to<T>({1e-6, 1e-6}))},
        .versions = {{1,
                      "a thread a row",
                      {128, 32, 64, 256},
                      [&](int block) {
                          cuda::launch(device, "swiglu_backward_kernel1", swiglu_backward_kernel1<T, kGate>,
                                       blocks(n, block), block, 0, dgate_up, dout, gate_up);
                      }},
                     {2,
                      "a thread an element",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "swiglu_backward_kernel2", swiglu_backward_kernel2<T, kGate>,
                                       blocks(n * channels, block), block, 0, dgate_up, dout, gate_up);
                      }},
                     {3,
                      "llmc: 16-byte loads",
                      {},
                      [&](int) { cuda::swiglu_backward<T>(device, dgate_up, dout, gate_up, kGate); }}},
    });
}

const Program kProgram{
    .operators = "swiglu_forward, swiglu_backward, geglu_forward, geglu_backward",
    .dimensions = "tokens x channels",
    .odd = {{5, 64}, {3, 61}, {2, 1000}, {67, 1}, {1, 8301}},
    .timed = {{8192, 8192}, {2048, 14336}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram, []<class T>(const Bench<T>& bench, const Shape& shape) {
        forward<Gate::silu>(bench, shape);
        backward<Gate::silu>(bench, shape);
        forward<Gate::gelu_tanh>(bench, shape);
        backward<Gate::gelu_tanh>(bench, shape);
    });
}
