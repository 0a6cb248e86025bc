// Dropout whose mask is a function of its name and is drawn again wherever it is needed (operator_options.h).
//
//   mask[n,c] = bits(stream, n, c) >= p 2^16         sixteen bits a channel, eight channels a Philox call
//   forward    out = mask x / (1-p)
//   backward   dx += mask dout / (1-p)
//
//   kernel 1   the definition: one thread, a Philox call for every element
//   kernel 2   all threads, a Philox call for eight elements
//   kernel 3   llmc/cpu/dropout.h: a vector of Philox counters at once
//
//   make -C dev/cpu && build/dev/cpu/dropout [version] [--shape ...]
#include "llmc/cpu/dropout.h"

#include "dev/cpu/common.h"

namespace {

using namespace llmc;
using benchmark::Device, benchmark::Tensor;

// The sixteen bits of channel c % 8 of the eight that share these words.
uint32_t bits_of(const PhiloxWords& words, int64_t c) {
    const uint32_t all[] = {words.x0, words.x1, words.x2, words.x3};
    return all[c % 8 / 2] >> (16 * (c % 2)) & 0xffff;
}

float factor_of(const PhiloxWords& words, int64_t c, float p) {
    return bits_of(words, c) >= dropout_threshold(p) ? dropout_keep_factor(p) : 0;
}

// visit(n, c, mask[n,c] / (1-p)) of every element.
template <class Visit>
void each_element(int64_t rows, int64_t cols, float p, const DropoutStream& stream, const Visit& visit) {
    for (int64_t n = 0; n < rows; n++)
        for (int64_t c = 0; c < cols; c++)
            visit(n, c, factor_of(dropout_words(stream, static_cast<uint32_t>(n), static_cast<uint32_t>(c / 8)), c, p));
}

template <class Visit>
void each_eight(const Device& device, int64_t rows, int64_t cols, float p, const DropoutStream& stream,
                const Visit& visit) {
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < rows; n++) {
        for (int64_t first = 0; first < cols; first += 8) {
            const PhiloxWords words = dropout_words(stream, static_cast<uint32_t>(n), static_cast<uint32_t>(first / 8));
            for (int64_t c = first; c < std::min(first + 8, cols); c++) visit(n, c, factor_of(words, c, p));
        }
    }
}

void dropout_forward_kernel1(const Device&, Matrix<float> out, Matrix<const float> x, float p,
                             const DropoutStream& stream) {
    each_element(x.rows, x.cols, p, stream, [&](int64_t n, int64_t c, float factor) { out(n, c) = x(n, c) * factor; });
}

void dropout_forward_kernel2(const Device& device, Matrix<float> out, Matrix<const float> x, float p,
                             const DropoutStream& stream) {
    each_eight(device, x.rows, x.cols, p, stream,
               [=](int64_t n, int64_t c, float factor) { out(n, c) = x(n, c) * factor; });
}

void dropout_backward_kernel1(const Device&, Matrix<float> dx, Matrix<const float> dout, float p,
                              const DropoutStream& stream) {
    each_element(dx.rows, dx.cols, p, stream,
                 [&](int64_t n, int64_t c, float factor) { dx(n, c) += dout(n, c) * factor; });
}

void dropout_backward_kernel2(const Device& device, Matrix<float> dx, Matrix<const float> dout, float p,
                              const DropoutStream& stream) {
    each_eight(device, dx.rows, dx.cols, p, stream,
               [=](int64_t n, int64_t c, float factor) { dx(n, c) += dout(n, c) * factor; });
}

struct Operands {
    Tensor<float> from, to;

    explicit Operands(const benchmark::Shape& shape)
        : from(benchmark::random<float>(shape[0], shape[1], 1)), to(benchmark::random<float>(shape[0], shape[1], 2)) {}

    template <class Kernel>
    void call(Kernel kernel, const Device& device) {
        kernel(device, to, from, 0.1f, DropoutStream{.seed = 1, .micro_batch = (1ull << 40) + 3, .layer_id = 5});
    }
};

struct Forward : Operands {
    static constexpr const char* name = "dropout_forward";
    using Kernel = decltype(&cpu::dropout_forward<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", dropout_forward_kernel1},
                {"a Philox call for eight, threads", dropout_forward_kernel2},
                {"llmc/cpu/dropout.h: vectors of Philox calls, threads", cpu::dropout_forward<float>}};
    }

    using Operands::Operands;
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("out", to, 0)}; }
    benchmark::Work work() const { return {benchmark::Unit::bytes, from.bytes() + to.bytes()}; }
};

struct Backward : Operands {
    static constexpr const char* name = "dropout_backward";
    using Kernel = decltype(&cpu::dropout_backward<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", dropout_backward_kernel1},
                {"a Philox call for eight, threads", dropout_backward_kernel2},
                {"llmc/cpu/dropout.h: vectors of Philox calls, threads", cpu::dropout_backward<float>}};
    }

    using Operands::Operands;
    // The product may or may not be rounded before it is added.
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("dx", to, 1e-7)}; }
    benchmark::Work work() const { return {benchmark::Unit::bytes, from.bytes() + 2 * to.bytes()}; }
};

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run<Forward, Backward>(argc, argv,
                                             {.operators = "dropout_forward, dropout_backward",
                                              .dimensions = "tokens x channels",
                                              .odd = {{1, 1}, {2, 7}, {5, 33}, {17, 576}, {3, 1001}},
                                              .timed = {{2048, 3072}}});
}
