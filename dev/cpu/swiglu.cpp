// SwiGLU on the joint output of gate_proj and up_proj: gate in the first F columns, up in the last F.
//
//   out = g sigmoid(g) u
//   du  = dout g sigmoid(g)
//   dg  = dout u sigmoid(g) (1 + g (1 - sigmoid(g)))
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

// The exponentials of the versions differ by an ulp or two, 1 + e^-g and the quotient add one each, and g (1 - sigmoid)
// multiplies what 1 - sigmoid has lost by a g of up to 10.
constexpr double kTolerance = 2e-6;

void swiglu_forward_kernel1(const Device&, Matrix<float> out, Matrix<const float> gate_up) {
    for (int64_t n = 0; n < out.rows; n++) {
        for (int64_t f = 0; f < out.cols; f++) {
            const double g = gate_up(n, f), u = gate_up(n, out.cols + f);
            out(n, f) = static_cast<float>(g / (1 + std::exp(-g)) * u);
        }
    }
}

void swiglu_forward_kernel2(const Device& device, Matrix<float> out, Matrix<const float> gate_up) {
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < out.rows; n++) {
        for (int64_t f = 0; f < out.cols; f++) {
            const float g = gate_up(n, f), u = gate_up(n, out.cols + f);
            out(n, f) = g / (1 + std::exp(-g)) * u;
        }
    }
}

struct Forward {
    static constexpr const char* name = "swiglu_forward";
    using Kernel = decltype(&cpu::swiglu_forward<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", swiglu_forward_kernel1},
                {"the C library's expf, threads", swiglu_forward_kernel2},
                {"llmc/cpu/swiglu.h: vectors, threads", cpu::swiglu_forward<float>}};
    }

    Tensor<float> gate_up, out;

    explicit Forward(const benchmark::Shape& shape)
        : gate_up(benchmark::random<float>(shape[0], 2 * shape[1], 1)),
          out(benchmark::unwritten<float>(shape[0], shape[1])) {
        for (float& value : gate_up.span()) value *= 10;  // where sigmoid bends, and far from it
    }

    void call(Kernel kernel, const Device& device) { kernel(device, out, gate_up); }
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("out", out, kTolerance)}; }
    benchmark::Work work() const { return {benchmark::Unit::bytes, gate_up.bytes() + out.bytes()}; }
};

void swiglu_backward_kernel1(const Device&, Matrix<float> dgate_up, Matrix<const float> dout,
                             Matrix<const float> gate_up) {
    for (int64_t n = 0; n < dout.rows; n++) {
        for (int64_t f = 0; f < dout.cols; f++) {
            const double g = gate_up(n, f), u = gate_up(n, dout.cols + f), sigmoid = 1 / (1 + std::exp(-g));
            dgate_up(n, f) = static_cast<float>(dout(n, f) * u * sigmoid * (1 + g * (1 - sigmoid)));
            dgate_up(n, dout.cols + f) = static_cast<float>(dout(n, f) * g * sigmoid);
        }
    }
}

void swiglu_backward_kernel2(const Device& device, Matrix<float> dgate_up, Matrix<const float> dout,
                             Matrix<const float> gate_up) {
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < dout.rows; n++) {
        for (int64_t f = 0; f < dout.cols; f++) {
            const float g = gate_up(n, f), u = gate_up(n, dout.cols + f), sigmoid = 1 / (1 + std::exp(-g));
            dgate_up(n, f) = dout(n, f) * u * sigmoid * (1 + g * (1 - sigmoid));
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

    void call(Kernel kernel, const Device& device) { kernel(device, dgate_up, dout, forward.gate_up); }
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("dgate_up", dgate_up, kTolerance)}; }
    benchmark::Work work() const { return {benchmark::Unit::bytes, 2 * dgate_up.bytes() + dout.bytes()}; }
};

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run<Forward, Backward>(argc, argv,
                                             {.operators = "swiglu_forward, swiglu_backward",
                                              .dimensions = "tokens x features",
                                              .odd = {{1, 1}, {2, 7}, {5, 33}, {17, 576}, {3, 1001}},
                                              .timed = {{1024, 8192}}});
}
