// SwiGLU on the joint output of gate_proj and up_proj: gate in the first F columns, up in the last F.
//
//   out = g sigmoid(a) u
//   du  = dout g sigmoid(a)
//   dg  = dout u sigmoid(a) (1 + g a' (1 - sigmoid(a)))
//
// a is g itself in SiLU, whose number in a shape is 0, and llmc/core/gate.h's polynomial in tanh-GELU, 1.
//
//   kernel 1   the definition: one thread, in double
//   kernel 2   all threads, and the C library's expf: a call per element, which keeps the loop scalar
//   kernel 3   llmc/cpu/swiglu.h: an exponential that the compiler makes vectors of (simd_math.h)
//
//   make -C dev/cpu && build/dev/cpu/swiglu [version] [--shape ...]
#include "llmc/cpu/swiglu.h"

#include "dev/cpu/common.h"

namespace {

using namespace llmc;
using benchmark::Device, benchmark::Tensor;

// The exponentials of the versions differ by an ulp or two, 1 + e^-a and the quotient add one each, and g a' (1 -
// sigmoid) multiplies what 1 - sigmoid has lost by a g a' of up to 10.
constexpr double kTolerance = 2e-6;

template <class T>
T argument(Gate gate, T g) {
    return gate == Gate::silu ? gate_argument<Gate::silu>(g) : gate_argument<Gate::gelu_tanh>(g);
}
template <class T>
T growth(Gate gate, T g) {
    return gate == Gate::silu ? gate_argument_growth<Gate::silu>(g) : gate_argument_growth<Gate::gelu_tanh>(g);
}

void swiglu_forward_kernel1(const Device&, Matrix<float> out, Matrix<const float> gate_up, Gate gate) {
    for (int64_t n = 0; n < out.rows; n++) {
        for (int64_t f = 0; f < out.cols; f++) {
            const double g = gate_up(n, f), u = gate_up(n, out.cols + f);
            out(n, f) = static_cast<float>(g / (1 + std::exp(-argument(gate, g))) * u);
        }
    }
}

void swiglu_forward_kernel2(const Device& device, Matrix<float> out, Matrix<const float> gate_up, Gate gate) {
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < out.rows; n++) {
        for (int64_t f = 0; f < out.cols; f++) {
            const float g = gate_up(n, f), u = gate_up(n, out.cols + f);
            out(n, f) = g / (1 + std::exp(-argument(gate, g))) * u;
        }
    }
}

Gate gate_of(const benchmark::Shape& shape) {
    return shape[2] == 0 ? Gate::silu : Gate::gelu_tanh;
}

struct Forward {
    static constexpr const char* name = "swiglu_forward";
    using Kernel = decltype(&cpu::swiglu_forward<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", swiglu_forward_kernel1},
                {"the C library's expf, threads", swiglu_forward_kernel2},
                {"llmc/cpu/swiglu.h: vectors, threads", cpu::swiglu_forward<float>}};
    }

    Gate gate;
    Tensor<float> gate_up, out;

    explicit Forward(const benchmark::Shape& shape)
        : gate(gate_of(shape)),
          gate_up(benchmark::random<float>(shape[0], 2 * shape[1], 1)),
          out(benchmark::unwritten<float>(shape[0], shape[1])) {
        for (float& value : gate_up.span()) value *= 10;  // where sigmoid bends, and far from it
    }

    void call(Kernel kernel, const Device& device) { kernel(device, out, gate_up, gate); }
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("out", out, kTolerance)}; }
    benchmark::Work work() const { return {benchmark::Unit::bytes, gate_up.bytes() + out.bytes()}; }
};

void swiglu_backward_kernel1(const Device&, Matrix<float> dgate_up, Matrix<const float> dout,
                             Matrix<const float> gate_up, Gate gate) {
    for (int64_t n = 0; n < dout.rows; n++) {
        for (int64_t f = 0; f < dout.cols; f++) {
            const double g = gate_up(n, f), u = gate_up(n, dout.cols + f);
            const double sigmoid = 1 / (1 + std::exp(-argument(gate, g)));
            dgate_up(n, f) = static_cast<float>(dout(n, f) * u * sigmoid * (1 + growth(gate, g) * (1 - sigmoid)));
            dgate_up(n, dout.cols + f) = static_cast<float>(dout(n, f) * g * sigmoid);
        }
    }
}

void swiglu_backward_kernel2(const Device& device, Matrix<float> dgate_up, Matrix<const float> dout,
                             Matrix<const float> gate_up, Gate gate) {
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < dout.rows; n++) {
        for (int64_t f = 0; f < dout.cols; f++) {
            const float g = gate_up(n, f), u = gate_up(n, dout.cols + f);
            const float sigmoid = 1 / (1 + std::exp(-argument(gate, g)));
            dgate_up(n, f) = dout(n, f) * u * sigmoid * (1 + growth(gate, g) * (1 - sigmoid));
            dgate_up(n, dout.cols + f) = dout(n, f) * g * sigmoid;
        }
    }
}

struct Backward {
    static constexpr const char* name = "swiglu_backward";
    using Kernel = decltype(&cpu::swiglu_backward<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", swiglu_backward_kernel1},
                {"the C library's expf, threads", swiglu_backward_kernel2},
                {"llmc/cpu/swiglu.h: vectors, threads", cpu::swiglu_backward<float>}};
    }

    Forward forward;
    Tensor<float> dout, dgate_up;

    explicit Backward(const benchmark::Shape& shape)
        : forward(shape),
          dout(benchmark::random<float>(shape[0], shape[1], 2)),
          dgate_up(benchmark::unwritten<float>(shape[0], 2 * shape[1])) {}

    void call(Kernel kernel, const Device& device) { kernel(device, dgate_up, dout, forward.gate_up, forward.gate); }
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("dgate_up", dgate_up, kTolerance)}; }
    benchmark::Work work() const { return {benchmark::Unit::bytes, 2 * dgate_up.bytes() + dout.bytes()}; }
};

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run<Forward, Backward>(argc, argv,
                                             {.operators = "swiglu_forward, swiglu_backward",
                                              .dimensions = "tokens x features x gate",
                                              .odd = {{1, 1, 0}, {2, 7, 1}, {5, 33, 0}, {17, 576, 1}, {3, 1001, 0}},
                                              .timed = {{1024, 8192, 0}, {1024, 8192, 1}}});
}
