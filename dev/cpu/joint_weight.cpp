// The one weight that adds both corrections of a quantised layer, built anew in every pass (quaff/model/lora.h).
//
//   Wz[o,:] = [ (alpha/r) B[o,:] of the adapter that writes output o, in its columns, 0 in the others'
//             | (s[j] - 1) Wo[o,j] ]                                                          [O, R + n]
//
//   kernel 1   the definition: one thread
//   kernel 2   quaff/model/lora.h: rows shared out among the threads
//
// The layer timed is Phi-3-mini's gate_up_proj: two adapters of half the outputs each.
//
//   make -C dev/cpu && build/dev/cpu/joint_weight [version] [--shape ...]
#include "dev/cpu/common.h"
#include "quaff/model/lora.h"

namespace {

using namespace llmc;
using benchmark::Device, benchmark::Tensor;

void joint_weight_kernel1(const Device&, Matrix<float> wz, const std::vector<quaff::LoraAdapter>& adapters,
                          Matrix<const float> outlier_weight, const float* s) {
    const int64_t rank = wz.cols - outlier_weight.cols;
    for (int64_t o = 0; o < wz.rows; o++) {
        std::fill_n(wz.row(o), rank, 0.0f);
        for (int64_t j = 0; j < outlier_weight.cols; j++) wz(o, rank + j) = (s[j] - 1) * outlier_weight(o, j);
    }
    int64_t column = 0;
    for (const quaff::LoraAdapter& adapter : adapters) {
        for (int64_t o = 0; o < adapter.b.rows; o++)
            for (int64_t k = 0; k < adapter.b.cols; k++)
                wz(adapter.out_begin + o, column + k) = adapter.scaling * adapter.b(o, k);
        column += adapter.b.cols;
    }
}

struct JointWeight {
    static constexpr const char* name = "joint_weight";
    using Kernel = decltype(&cpu::joint_weight);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", joint_weight_kernel1},
                {"quaff/model/lora.h: by rows, threads", cpu::joint_weight}};
    }

    Tensor<float> b, outlier_weight, s, wz;
    std::vector<quaff::LoraAdapter> adapters;

    explicit JointWeight(const benchmark::Shape& shape) : JointWeight(shape[0], shape[1], shape[2]) {}
    JointWeight(int64_t outputs, int64_t rank, int64_t outliers)
        : b(benchmark::random<float>(outputs, rank, 1)),
          outlier_weight(benchmark::random<float>(outputs, outliers, 2)),
          s(benchmark::random<float>(1, outliers, 3)),
          wz(benchmark::unwritten<float>(outputs, 2 * rank + outliers)) {
        const int64_t gate = outputs / 2;
        adapters.resize(2);
        adapters[0].b = b.rows_at(0, gate);
        adapters[1].b = b.rows_at(gate, outputs - gate);
        adapters[1].out_begin = gate;
        adapters[0].scaling = 0.5f;
        adapters[1].scaling = 2.0f;
    }

    void call(Kernel kernel, const Device& device) { kernel(device, wz, adapters, outlier_weight, s.data); }
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("wz", wz, 0)}; }
    benchmark::Work work() const { return {benchmark::Unit::bytes, b.bytes() + outlier_weight.bytes() + wz.bytes()}; }
};

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run<JointWeight>(argc, argv,
                                       {.operators = "joint_weight",
                                        .dimensions = "outputs x rank x outliers",
                                        .odd = {{1, 1, 1}, {2, 3, 0}, {5, 16, 4}, {17, 8, 12}, {301, 5, 61}},
                                        .timed = {{16384, 16, 61}}});
}
