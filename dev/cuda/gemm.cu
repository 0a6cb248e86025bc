// The four joint linears of Phi-3-mini as GEMMs: 16-bit floats against int8, forward and backward.
//
//   16 bits     gemm_nt, gemm_nn: what --method fp runs
//   int8 alone  cuBLASLt's int8 x int8 -> int32 of the whole product, its sums written to memory
//   int8_nt     int8_gemm_nt of the program: tiles of sums, dequantised while they lie in L2
//   int8_nn     int8_gemm_nn: the same after turning the weight round
//   forward, backward of --method quaff are these with quantize_rows or quantize_gradient_rows in front
//
//   make benchmarks && build/dev/cuda/gemm [tokens]
//
// TOP/s count 2 N O I operations. The last columns are the time in 16 bits over that of int8 with its quantisation.
// Whether the products are right is for test/llmc/cuda/{gemm,int8_gemm}_test.cpp.
#include "dev/cuda/benchmark.cuh"
#include "llmc/cuda/int8_gemm.cuh"

namespace {

using namespace llmc;
using benchmark::Tensor;

struct Linear {
    const char* name;
    int64_t out_features, in_features;
};
constexpr Linear kPhi3Mini[] = {
    {"qkv_proj", 9216, 3072}, {"o_proj", 3072, 3072}, {"gate_up_proj", 16384, 3072}, {"down_proj", 3072, 8192}};

void print_ratios(const double (&seconds)[7]) {
    std::printf("   %5.2f %5.2f\n", seconds[0] / (seconds[3] + seconds[5]), seconds[1] / (seconds[4] + seconds[6]));
}

template <class T>
void measure(int64_t tokens) {
    const cuda::Gpu<T> gpu(0, cuda::cache_directory());
    const cuda::Device<T>& device = gpu.device;
    benchmark::Clock clock(device.l2_bytes);
    std::printf("%s, %lld tokens, %s against int8; TOP/s\n", device.describe().c_str(), static_cast<long long>(tokens),
                device.compute_name);
    std::printf("%-13s %6s %6s %9s %9s %9s %9s %9s   %5s %5s\n", "linear", "out", "in", "forward", "backward", "int8",
                "int8_nt", "int8_nn", "fwd", "bwd");

    double total[7] = {};
    for (const Linear& linear : kPhi3Mini) {
        const int64_t out = linear.out_features, in = linear.in_features, rows = cuda::padded_tokens(device, tokens);
        const Tensor<T> x(tokens, in), w(out, in), y(tokens, out), dx(tokens, in);
        const Tensor<int8_t> xq(rows, in), gq(rows, out), wq(out, in);
        const Tensor<float> row_scale(1, rows), col_scale(1, out);
        const Tensor<int32_t> sums(rows, out), workspace(1, cuda::int8_gemm_nn_workspace(device, out, in));
        const std::span<int32_t> scratch(workspace.data(), static_cast<size_t>(workspace.view().cols));
        const auto whole = cuda::blas_product<int8_t, int32_t>(false, true, sums.view(), xq.view(), wq.view(), in);
        const double seconds[7] = {
            clock.seconds([&] { cuda::gemm_nt<T>(device, y.view(), x.view(), w.view(), 1, 0); }),
            clock.seconds([&] { cuda::gemm_nn<T>(device, dx.view(), y.view(), w.view(), 1, 0); }),
            clock.seconds(
                [&] { gpu.device.blas->multiply(device.stream, whole, 1, wq.data(), xq.data(), 0, sums.data()); }),
            clock.seconds([&] {
                cuda::int8_gemm_nt(device, y.view(), xq.view(), row_scale.data(), wq.view(), col_scale.data(), nullptr,
                                   scratch);
            }),
            clock.seconds(
                [&] { cuda::int8_gemm_nn(device, dx.view(), gq.view(), row_scale.data(), wq.view(), scratch); }),
            clock.seconds([&] {
                cuda::quantize_rows<T>(device, xq.view(), row_scale.data(), Matrix<T>(), x.view(), {}, nullptr);
            }),
            clock.seconds([&] {
                cuda::quantize_gradient_rows<T>(device, gq.view(), row_scale.data(), y.view(), col_scale.data());
            })};
        std::printf("%-13s %6lld %6lld", linear.name, static_cast<long long>(out), static_cast<long long>(in));
        for (int k = 0; k < 5; k++) std::printf(" %9.1f", 2e-12 * static_cast<double>(tokens * out * in) / seconds[k]);
        for (int k = 0; k < 7; k++) total[k] += seconds[k];
        print_ratios(seconds);
    }
    std::printf("%-13s %13s", "milliseconds", "");
    for (int k = 0; k < 5; k++) std::printf(" %9.3f", 1e3 * total[k]);
    print_ratios(total);
    std::printf("%-13s %13s %39.3f %9.3f\n", "quantisation", "", 1e3 * total[5], 1e3 * total[6]);
}

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run_in_16_bits(argc, argv, []<class T>(int64_t tokens) { measure<T>(tokens); });
}
