#include "llmc/cuda/gemm/lora_down/lora_down.cuh"

#include <tuple>

#include "llmc/cpu/gemm/lora_down.h"
#include "test/llmc/cuda/blas.h"

using namespace cuda_test;
using llmc_test::random_buffer;

namespace {

const cpu::Device kCpu{1};
const llmc::DropoutStream kStream{0x123456789abcdefull, 0x500000007ull, 11};

// Tokens x features at a rank. The GPU's own kernels take rows of whole Eights, and ranks up to 64.
struct Layer {
    int64_t tokens, features, rank, padding;
};

template <class T>
struct Operands {
    Buffer<double> x, a, dz, dropped, dx, da;
    DeviceMatrix<T> x_gpu, a_gpu, dz_gpu;

    Operands(const Layer& layer, const llmc::Dropout& dropout)
        : x(rounded<T>(random_buffer<double>(layer.tokens, layer.features, 1))),
          a(rounded<T>(random_buffer<double>(layer.rank, layer.features, 2))),
          dz(rounded<T>(random_buffer<double>(layer.tokens, layer.rank, 3))),
          dropped(x),
          dx(rounded<T>(random_buffer<double>(layer.tokens, layer.features, 4))),
          da(rounded<float>(random_buffer<double>(layer.rank, layer.features, 5))),
          x_gpu(x, layer.padding),
          a_gpu(a, layer.padding),
          dz_gpu(dz, layer.padding % 8) {
        if (dropout.p == 0) return;
        // One product of floats, rounded to T, as dropout_forward leaves it.
        Buffer<float> narrow_x(x.rows(), x.cols());
        for (int64_t i = 0; i < x.rows(); i++) {
            for (int64_t j = 0; j < x.cols(); j++) narrow_x(i, j) = static_cast<float>(x(i, j));
        }
        cpu::dropout_forward<float>(kCpu, narrow_x.view(), narrow_x.view(), dropout.p, dropout.stream);
        for (int64_t i = 0; i < x.rows(); i++) {
            for (int64_t j = 0; j < x.cols(); j++) dropped(i, j) = double{widen(narrow<T>(narrow_x(i, j)))};
        }
    }
};

template <class T>
DeviceVector<T> workspace_of(const cuda::Device<T>& device, const Layer& layer, float p) {
    // If rows are displaced, the operators need what they always need.
    const int64_t planned = cuda::lora_down_workspace(device, layer.tokens, layer.features, layer.rank, p);
    return DeviceVector<T>(std::max(planned, llmc::lora_down_workspace_of_operators(layer.tokens, layer.features, p)));
}

// What an fp32 sum of `terms` products of normals may be off by: each of its roundings is half of 2^-23 of a partial
// sum below 4 sqrt(terms), as often up as down, and some of tens of thousands of sums have 5 deviations.
double sum_unit(int64_t terms) {
    return 5 * std::sqrt(static_cast<double>(terms)) * 0x1p-24 * 4 * std::sqrt(static_cast<double>(terms));
}

}  // namespace

TEMPLATE_TEST_CASE("the products with A on the GPU are the CPU's, with its mask", "[cuda][lora_down]", float, bf16,
                   fp16) {
    using T = TestType;
    const auto [tokens, features, rank, padding] = GENERATE(table<int, int, int, int>({{1, 8, 1, 0},
                                                                                       {33, 72, 16, 0},
                                                                                       {133, 136, 24, 8},
                                                                                       {70, 264, 48, 0},
                                                                                       {37, 296, 64, 8},
                                                                                       {19, 64, 13, 0},
                                                                                       {260, 40, 32, 0},
                                                                                       {21, 43, 16, 0},
                                                                                       {21, 48, 16, 3},
                                                                                       {9, 64, 72, 0}}));
    const float p = GENERATE(0.0f, 0.1f);
    const Layer layer{tokens, features, rank, padding};
    CAPTURE(tokens, features, rank, padding, p);
    const llmc::Dropout dropout{p, kStream};
    const BlasDevice<T> gpu;
    const Operands<T> operands(layer, dropout);

    Buffer<double> z(tokens, rank), dx = operands.dx, da = operands.da, before_mask(tokens, features);
    cpu::gemm_nt<double>(kCpu, z.view(), operands.dropped.view(), operands.a.view(), 1, 0);
    cpu::gemm_tn<double>(kCpu, da.view(), operands.dz.view(), operands.dropped.view(), 1, 1);
    cpu::gemm_nn<double>(kCpu, before_mask.view(), operands.dz.view(), operands.a.view(), 1, 0);
    cpu::dropout_backward<double>(kCpu, dx.view(), before_mask.view(), p, kStream);
    // The operators round dz a to T before it is masked; the kernel does not.
    const bool fused = cuda::lora_down_fuses<T>(operands.x_gpu.view(), operands.a_gpu.view(), p);
    CHECK(fused == (sizeof(T) == 2 && p > 0 && features % 8 == 0 && padding % 8 == 0 && rank <= 64));
    const double largest = 5 * std::sqrt(static_cast<double>(rank)) / (1 - double{p});
    const double rounded_before = fused ? 0 : largest * static_cast<double>(unit_roundoff<T>());

    std::vector<T> z_bits, dx_bits;
    std::vector<float> da_bits;
    for_each_schedule([&] {
        const DeviceVector<T> workspace = workspace_of(gpu.device, layer, p);
        const DeviceMatrix<T> z_gpu(Buffer<double>(tokens, rank)), dx_gpu(operands.dx, padding);
        const DeviceMatrix<float> da_gpu(operands.da);
        cuda::lora_down<T>(gpu.device, z_gpu.view(), operands.x_gpu.view(), operands.a_gpu.view(), dropout,
                           workspace.span());
        cuda::lora_down_dx<T>(gpu.device, dx_gpu.view(), operands.dz_gpu.view(), operands.a_gpu.view(), dropout,
                              workspace.span());
        cuda::lora_down_da<T>(gpu.device, da_gpu.view(), operands.dz_gpu.view(), operands.x_gpu.view(), dropout,
                              workspace.span());
        CHECK(z_gpu.error(z, sum_unit(features)) <= 1);
        CHECK(dx_gpu.error(dx, sum_unit(rank) + rounded_before) <= 1);
        CHECK(da_gpu.error(da, sum_unit(tokens)) <= 1);
        if (z_bits.empty()) z_bits = z_gpu.bits(), dx_bits = dx_gpu.bits(), da_bits = da_gpu.bits();
        CHECK(same_bits(z_bits, z_gpu.bits()));
        CHECK(same_bits(dx_bits, dx_gpu.bits()));
        CHECK(same_bits(da_bits, da_gpu.bits()));
    });
}

// Shown by a single token and a single rank of ones: which features each of them drops.
TEMPLATE_TEST_CASE("forward and both gradients of A's product drop the same elements", "[cuda][lora_down]", bf16,
                   fp16) {
    using T = TestType;
    const int64_t features = 328;
    const llmc::Dropout dropout{0.5f, kStream};
    const BlasDevice<T> gpu;
    Buffer<double> ones(1, features), one(1, 1);
    ones.fill(1);
    one.fill(1);
    const DeviceMatrix<T> x(ones, 0), a(ones, 0), dz(one, 0);
    const DeviceVector<T> workspace(cuda::lora_down_workspace(gpu.device, 1, features, 1, dropout.p));
    const DeviceMatrix<T> dx(Buffer<double>(1, features), 0);
    const DeviceMatrix<float> da(Buffer<double>(1, features), 0);
    cuda::lora_down_dx<T>(gpu.device, dx.view(), dz.view(), a.view(), dropout, workspace.span());
    cuda::lora_down_da<T>(gpu.device, da.view(), dz.view(), x.view(), dropout, workspace.span());
    const std::vector<float> of_dx = widen(dx.bits());
    const std::vector<float> of_da = da.bits();
    int64_t kept = 0;
    for (int64_t begin = 0; begin < features; begin += 64) {
        // Rank r of A picks feature begin + r.
        const int64_t ranks = std::min<int64_t>(64, features - begin);
        Buffer<double> pick(ranks, features);
        for (int64_t r = 0; r < ranks; r++) pick(r, begin + r) = 1;
        const DeviceMatrix<T> pick_gpu(pick, 0), z(Buffer<double>(1, ranks), 0);
        cuda::lora_down<T>(gpu.device, z.view(), x.view(), pick_gpu.view(), dropout, {});
        const std::vector<float> of_z = widen(z.bits());
        for (int64_t r = 0; r < ranks; r++) {
            CHECK(of_z[r] == of_dx[begin + r]);
            CHECK(of_z[r] == of_da[begin + r]);
            kept += of_z[r] != 0;
        }
    }
    CHECK(kept > features / 3);  // half, within six deviations
    CHECK(kept < features - features / 3);
}

TEMPLATE_TEST_CASE("gradients of A on the GPU fit the workspace of the longest micro-batch", "[cuda][lora_down]", float,
                   bf16) {
    const cuda::Device<TestType> device;
    const int64_t features = GENERATE(40, 576, 3072, 16384), rank = GENERATE(1, 16, 64, 65);
    const float p = GENERATE(0.0f, 0.1f);
    int64_t before = 0;
    for (const int64_t tokens : {1, 100, 128, 129, 1000, 8192, 100000}) {
        const int64_t needed = cuda::lora_down_workspace(device, tokens, features, rank, p);
        CHECK(needed >= before);
        before = needed;
    }
    // It has no room for dropout(x) if the kernels draw their own masks.
    const bool fuses = sizeof(TestType) == 2 && rank <= 64;
    CHECK((before == 100000 * features) == (p > 0 && !fuses));
}

TEST_CASE("the products with A on the GPU refuse too small a workspace and dropping everything", "[cuda][lora_down]") {
    const BlasDevice<bf16> gpu;
    const llmc::Dropout dropout{0.1f, kStream};
    const DeviceMatrix<bf16> x(Buffer<double>(4, 16), 0), a(Buffer<double>(2, 16), 0), odd(Buffer<double>(4, 15), 0),
        odd_a(Buffer<double>(2, 15), 0), z(Buffer<double>(4, 2), 0);
    const DeviceMatrix<float> da(Buffer<double>(2, 16), 0);
    CHECK_NOTHROW(cuda::lora_down<bf16>(gpu.device, z.view(), x.view(), a.view(), dropout, {}));
    CHECK_THROWS_WITH(cuda::lora_down<bf16>(gpu.device, z.view(), odd.view(), odd_a.view(), dropout, {}),
                      Catch::Matchers::ContainsSubstring("workspace of 60 elements"));
    CHECK_THROWS_WITH(cuda::lora_down_dx<bf16>(gpu.device, odd.view(), z.view(), odd_a.view(), dropout, {}),
                      Catch::Matchers::ContainsSubstring("workspace of 60 elements"));
    CHECK_THROWS_WITH(cuda::lora_down_da<bf16>(gpu.device, da.view(), z.view(), x.view(), dropout, {}),
                      Catch::Matchers::ContainsSubstring("workspace of 64 elements"));
    CHECK_THROWS_WITH(cuda::lora_down<bf16>(gpu.device, z.view(), x.view(), a.view(), {1.0f, kStream}, {}),
                      Catch::Matchers::ContainsSubstring("dropout 1 is not in [0, 1)"));
}
