#include "llmc/cuda/numeric.cuh"

#include "test/llmc/cuda/support.h"

using namespace cuda_test;

namespace {

__global__ void reduce_kernel(float* sum, float* max, const float* in) {
    sum[threadIdx.x] = cuda::block_sum(in[threadIdx.x]);
    max[threadIdx.x] = cuda::block_max(in[threadIdx.x]);
}

}  // namespace

TEST_CASE("a block's sum and maximum reach all of its threads", "[cuda][numeric]") {
    cuda::Device<float> device;
    const int threads = GENERATE(32, 96, 256, 1024);
    std::vector<float> in(threads);
    for (int i = 0; i < threads; i++) in[i] = static_cast<float>((i * 37) % 101) - 60;
    float sum = 0, max = -100;
    for (float x : in) sum += x, max = std::max(max, x);  // integers: exact in any order
    for_each_schedule([&] {
        DeviceVector<float> input(in), sums(threads), maxima(threads);
        cuda::launch(device, "reduce", reduce_kernel, 1, threads, 0, sums.data(), maxima.data(), input.data());
        CHECK(sums.download() == std::vector<float>(threads, sum));
        CHECK(maxima.download() == std::vector<float>(threads, max));
    });
}
