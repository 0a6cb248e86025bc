// SwiGLU on the joint output of gate_proj and up_proj: gate in the first F columns, up in the last F.
//
//   out = g sigmoid(a) u
//   du  = dout g sigmoid(a)
//   dg  = dout u sigmoid(a) (1 + g a' (1 - sigmoid(a)))
//
//   swiglu_forward, swiglu_backward   a = g
//   geglu_forward, geglu_backward     the same operators with Gate::gelu_tanh: a as in llmc/core/gate.h
//
//   kernel 1   the definition: one thread, in double
//   kernel 2   all threads, and the C library's expf (tanhf): a call per element, which keeps the loop scalar
//   kernel 3   llmc/cpu/swiglu.h: an exponential that the compiler makes vectors of (simd_math.h)
//
//   make -C dev/cpu && build/dev/cpu/swiglu [version] [--shape ...]
#include "llmc/cpu/swiglu.h"

#include "dev/cpu/common.h"

namespace {

using namespace llmc;
using benchmark::Device, benchmark::Tensor;

// The exponentials of the versions differ by an ulp or two, 1 + e^-a and the quotient add one each, and
// g a' (1 - sigmoid) multiplies what 1 - sigmoid has lost by a g a' of up to 10, with the tanh gate of up to 38:
// beyond, sigmoid is 1.
constexpr double tolerance(Gate gate) {
    return gate == Gate::silu ? 2e-6 : 4e-6;
}

// sigmoid(a), with tanh as torch has it where that is how the gate is defined.
template <class T>
T sigmoid_of(T g, Gate gate) {
    if (gate == Gate::silu) return 1 / (1 + std::exp(-g));
    return (1 + std::tanh(gate_argument<Gate::gelu_tanh>(g) / 2)) / 2;
}

// g a'
template <class T>
T growth_of(T g, Gate gate) {
    return gate == Gate::silu ? g : gate_argument_growth<Gate::gelu_tanh>(g);
}

void swiglu_forward_kernel1(const Device&, Matrix<float> out, Matrix<const float> gate_up, Gate gate) {
    for (int64_t n = 0; n < out.rows; n++) {
        for (int64_t f = 0; f < out.cols; f++) {
            const double g = gate_up(n, f), u = gate_up(n, out.cols + f);
            out(n, f) = static_cast<float>(g * sigmoid_of(g, gate) * u);
        }
    }
}

void swiglu_forward_kernel2(const Device& device, Matrix<float> out, Matrix<const float> gate_up, Gate gate) {
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < out.rows; n++) {
        for (int64_t f = 0; f < out.cols; f++) {
            const float g = gate_up(n, f), u = gate_up(n, out.cols + f);
            out(n, f) = g * sigmoid_of(g, gate) * u;
        }
    }
}

template <Gate kGate>
struct Forward {
    static constexpr const char* name = kGate == Gate::silu ? "swiglu_forward" : "geglu_forward";
    using Kernel = decltype(&cpu::swiglu_forward<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", swiglu_forward_kernel1},
                {kGate == Gate::silu ? "the C library's expf, threads" : "the C library's tanhf, threads",
                 swiglu_forward_kernel2},
                {"llmc/cpu/swiglu.h: vectors, threads", cpu::swiglu_forward<float>}};
    }

    Tensor<float> gate_up, out;

    explicit Forward(const benchmark::Shape& shape)
        : gate_up(benchmark::random<float>(shape[0], 2 * shape[1], 1)),
          out(benchmark::unwritten<float>(shape[0], shape[1])) {
        for (float& value : gate_up.span()) value *= 10;  // where sigmoid bends, and far from it
    }

    void call(Kernel kernel, const Device& device) { kernel(device, out, gate_up, kGate); }
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("out", out, tolerance(kGate))}; }
    benchmark::Work work() const { return {benchmark::Unit::bytes, gate_up.bytes() + out.bytes()}; }
};

void swiglu_backward_kernel1(const Device&, Matrix<float> dgate_up, Matrix<const float> dout,
                             Matrix<const float> gate_up, Gate gate) {
    for (int64_t n = 0; n < dout.rows; n++) {
        for (int64_t f = 0; f < dout.cols; f++) {
            const double g = gate_up(n, f), u = gate_up(n, dout.cols + f), sigmoid = sigmoid_of(g, gate);
            dgate_up(n, f) = static_cast<float>(dout(n, f) * u * sigmoid * (1 + growth_of(g, gate) * (1 - sigmoid)));
            dgate_up(n, dout.cols + f) = static_cast<float>(dout(n, f) * g * sigmoid);
        }
    }
}

void swiglu_backward_kernel2(const Device& device, Matrix<float> dgate_up, Matrix<const float> dout,
                             Matrix<const float> gate_up, Gate gate) {
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < dout.rows; n++) {
        for (int64_t f = 0; f < dout.cols; f++) {
            const float g = gate_up(n, f), u = gate_up(n, dout.cols + f), sigmoid = sigmoid_of(g, gate);
            dgate_up(n, f) = dout(n, f) * u * sigmoid * (1 + growth_of(g, gate) * (1 - sigmoid));
            dgate_up(n, dout.cols + f) = dout(n, f) * g * sigmoid;
        }
    }
}

template <Gate kGate>
struct Backward {
    static constexpr const char* name = kGate == Gate::silu ? "swiglu_backward" : "geglu_backward";
    using Kernel = decltype(&cpu::swiglu_backward<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", swiglu_backward_kernel1},
                {kGate == Gate::silu ? "the C library's expf, threads" : "the C library's tanhf, threads",
                 swiglu_backward_kernel2},
                {"llmc/cpu/swiglu.h: vectors, threads", cpu::swiglu_backward<float>}};
    }

    Forward<kGate> forward;
    Tensor<float> dout, dgate_up;

    explicit Backward(const benchmark::Shape& shape)
        : forward(shape),
          dout(benchmark::random<float>(shape[0], shape[1], 2)),
          dgate_up(benchmark::unwritten<float>(shape[0], 2 * shape[1])) {}

    void call(Kernel kernel, const Device& device) { kernel(device, dgate_up, dout, forward.gate_up, kGate); }
    std::vector<benchmark::Output> outputs() const {
        return {benchmark::output("dgate_up", dgate_up, tolerance(kGate))};
    }
    benchmark::Work work() const { return {benchmark::Unit::bytes, 2 * dgate_up.bytes() + dout.bytes()}; }
};

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run<Forward<Gate::silu>, Backward<Gate::silu>, Forward<Gate::gelu_tanh>,
                          Backward<Gate::gelu_tanh>>(
        argc, argv,
        {.operators = "swiglu_forward, swiglu_backward, geglu_forward, geglu_backward",
         .dimensions = "tokens x features",
         .odd = {{1, 1}, {2, 7}, {5, 33}, {17, 576}, {3, 1001}},
         .timed = {{1024, 8192}}});
}
