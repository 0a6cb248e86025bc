#include "llmc/cuda/kernel/numeric.cuh"

#include <algorithm>
#include <random>

#include "test/llmc/cuda/support.h"

using namespace cuda_test;
using cuda::Packed;

namespace {

__global__ void reduce(float* warp_sum, float* block_sum, float* block_max, const float* in) {
    warp_sum[threadIdx.x] = cuda::warp_sum(in[threadIdx.x]);
    block_sum[threadIdx.x] = cuda::block_sum(in[threadIdx.x]);
    block_max[threadIdx.x] = cuda::block_max(in[threadIdx.x]);
}

template <class T>
__global__ void round_trip(T* out, float* widened, const float* in) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    out[i] = cuda::from_float<T>(in[i]);
    widened[i] = cuda::to_float(out[i]);
}

// out = in, N columns at a time, one row a block.
template <int N, class T>
__global__ void copy_rows(Matrix<T> out, Matrix<const T> in, bool packed) {
    for (int64_t c = threadIdx.x * N; c < in.cols; c += blockDim.x * N) {
        const Packed<T, N> v = cuda::load<N>(in.row(blockIdx.x), c, in.cols, packed);
        cuda::store<N>(out.row(blockIdx.x), c, in.cols, packed, v);
    }
}

// The order in which warp_sum adds, on the host.
float butterfly(std::vector<float> x) {
    for (int distance = 16; distance > 0; distance /= 2) {
        std::vector<float> next(32);
        for (int l = 0; l < 32; l++) next[l] = x[l] + x[l ^ distance];
        x = next;
    }
    return x[0];
}

}  // namespace

TEST_CASE("sums and maxima reach every thread with the same bits, in a fixed order", "[cuda][numeric]") {
    const cuda::Device<float> device;
    const int threads = GENERATE(32, 64, 96, 256, 1024);
    std::mt19937 random(1);
    std::vector<float> in(threads);
    for (float& x : in) x = std::normal_distribution<float>()(random);
    std::vector<float> of_warp(32, 0.0f), warp_sums(threads);
    for (int w = 0; w < threads / 32; w++) {
        of_warp[w] = butterfly({in.begin() + 32 * w, in.begin() + 32 * w + 32});
        std::fill_n(warp_sums.begin() + 32 * w, 32, of_warp[w]);
    }
    const float sum = threads == 32 ? of_warp[0] : butterfly(of_warp), max = *std::max_element(in.begin(), in.end());
    for_each_schedule([&] {
        DeviceVector<float> input(in), warp(threads), block(threads), maximum(threads);
        cuda::launch(device, "reduce", reduce, 1, threads, 0, warp.data(), block.data(), maximum.data(), input.data());
        CHECK(warp.download() == warp_sums);
        CHECK(block.download() == std::vector<float>(threads, sum));
        CHECK(maximum.download() == std::vector<float>(threads, max));
    });
}

TEMPLATE_TEST_CASE("storage types round to nearest even and widen exactly", "[cuda][numeric]", bf16, fp16, float) {
    const cuda::Device<float> device;
    std::vector<float> in{0, -0.0f, 1, 1 + 0x1p-8f, 1 + 0x3p-8f, 1 + 0x1p-11f, 65504, 65520, 1e-7f, 3.4e38f, INFINITY};
    std::mt19937 random(1);
    while (in.size() < 4096) in.push_back(std::ldexp(std::normal_distribution<float>()(random), random() % 40 - 20));
    const DeviceVector<float> input(in), widened(4096);
    const DeviceVector<TestType> out(4096);
    cuda::launch(device, "round_trip", round_trip<TestType>, 16, 256, 0, out.data(), widened.data(), input.data());
    const std::vector<TestType> expected = narrow<TestType>(in);
    CHECK(same_bits(out.download(), expected));
    CHECK(widened.download() == widen(expected));
}

TEMPLATE_TEST_CASE("rows are copied whole, packed where they can be", "[cuda][numeric]", bf16, float, int8_t) {
    const cuda::Device<float> device;
    constexpr int N = 8;
    const auto [cols, stride, first, packable] = GENERATE(table<int64_t, int64_t, int64_t, bool>({{64, 64, 0, true},
                                                                                                  {64, 80, 16, true},
                                                                                                  {1, 8, 0, false},
                                                                                                  {63, 64, 0, false},
                                                                                                  {64, 65, 0, false},
                                                                                                  {64, 80, 3, false}}));
    std::vector<TestType> in(3 * stride + first);
    for (size_t i = 0; i < in.size(); i++) in[i] = narrow<TestType>(static_cast<float>(i % 100));
    const DeviceVector<TestType> input(in), output(static_cast<int64_t>(in.size()));
    const auto from = input.matrix(3, cols, stride, first), to = output.matrix(3, cols, stride, first);
    CHECK(cuda::can_pack<N>(from) == packable);
    cuda::launch(device, "copy_rows", copy_rows<N, TestType>, 3, 32, 0, to, from, cuda::can_pack<N>(from));

    std::vector<TestType> expected = DeviceVector<TestType>(static_cast<int64_t>(in.size())).download();
    for (int64_t row = 0; row < 3; row++)
        std::copy_n(in.begin() + first + row * stride, cols, expected.begin() + first + row * stride);
    CHECK(same_bits(output.download(), expected));  // the rest is still poison
}
