// The Euclidean norm of all gradients, for clipping: sqrt(sum_i x[i]^2), summed in double.
//
//   kernel 1   the definition: one thread
//   kernel 2   OpenMP's reduction: vectors and threads, but other last bits for another number of threads
//   kernel 3   llmc/cpu/global_norm.h: always the same partial sums, added in the same order
//
//   make -C dev/cpu && build/dev/cpu/global_norm [version] [--shape ...]
#include "llmc/cpu/global_norm.h"

#include "dev/cpu/common.h"

namespace {

using namespace llmc;
using benchmark::Device, benchmark::Tensor;

double global_norm_kernel1(const Device&, std::span<float> x, std::span<double>) {
    double sum = 0;
    for (const double value : x) sum += value * value;
    return std::sqrt(sum);
}

double global_norm_kernel2(const Device& device, std::span<float> x, std::span<double>) {
    double sum = 0;
    const float* data = x.data();
    const auto count = static_cast<int64_t>(x.size());
#pragma omp parallel for simd num_threads(device.threads) reduction(+ : sum)
    for (int64_t i = 0; i < count; i++) {
        const double value = data[i];
        sum += value * value;
    }
    return std::sqrt(sum);
}

struct GlobalNorm {
    static constexpr const char* name = "global_norm";
    using Kernel = decltype(&cpu::global_norm<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", global_norm_kernel1},
                {"OpenMP's reduction, vectors, threads", global_norm_kernel2},
                {"llmc/cpu/global_norm.h: the same bits for any threads", cpu::global_norm<float>}};
    }

    Tensor<float> x;
    Tensor<double> workspace, norm;

    explicit GlobalNorm(const benchmark::Shape& shape)
        : x(benchmark::random<float>(1, shape[0], 1)),
          workspace(1, cpu::global_norm_workspace(Device{})),
          norm(benchmark::unwritten<double>(1, 1)) {}

    void call(Kernel kernel, const Device& device) { *norm.data = kernel(device, x.span(), workspace.span()); }
    // 4,000 additions in double.
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("norm", norm, 1e-13)}; }
    benchmark::Work work() const { return {benchmark::Unit::bytes, x.bytes()}; }
};

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run<GlobalNorm>(argc, argv,
                                      {.operators = "global_norm",
                                       .dimensions = "parameters",
                                       .odd = {{1}, {7}, {33}, {1001}, {4099}},
                                       .timed = {{25'000'000}}});
}
