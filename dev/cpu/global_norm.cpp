// The Euclidean norm of all gradients, for clipping: sqrt(sum_i x[i]^2), summed in double.
//
//   kernel 1   the definition: one thread
//   kernel 2   OpenMP's reduction: vectors and threads, but other last bits for another number of threads
//   kernel 3   llmc/cpu/global_norm.h: always the same partial sums, added in the same order
//
//   make -C dev/cpu && build/dev/cpu/global_norm [version] [--shape parameters]
#include "llmc/cpu/global_norm.h"

#include "dev/cpu/common.h"

namespace {

using namespace llmc;
using bench::Device, bench::Tensor;

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
    static std::vector<bench::Version<Kernel>> versions() {
        return {{"the definition, one thread", global_norm_kernel1},
                {"OpenMP's reduction, vectors, threads", global_norm_kernel2},
                {"llmc/cpu/global_norm.h: the same bits for any threads", cpu::global_norm<float>}};
    }

    Tensor<float> x;
    Tensor<double> workspace, norm;

    explicit GlobalNorm(const bench::Shape& shape)
        : x(bench::random<float>(1, shape[0], 1)),
          workspace(1, cpu::global_norm_workspace(Device{})),
          norm(bench::unwritten<double>(1, 1)) {}

    void call(Kernel kernel, const Device& device) { *norm.data = kernel(device, x.span(), workspace.span()); }
    // 4,000 additions in double.
    std::vector<bench::Output> outputs() const { return {bench::output("norm", norm, 1e-13)}; }
    bench::Cost cost() const { return {bench::Limit::copy, x.bytes()}; }
};

}  // namespace

int main(int argc, char** argv) {
    return bench::run<GlobalNorm>(argc, argv,
                                  {.about = "The Euclidean norm of a flat buffer",
                                   .dimensions = "parameters",
                                   .shape = {25'000'000},
                                   .odd = {{1}, {7}, {33}, {1001}, {4099}}});
}
