// That the emulator runs kernels as CUDA does, and catches those that CUDA leaves undefined.
#include "test/emu/kernel.h"

#include "test/llmc/cuda/support.h"

using namespace cuda_test;

namespace {

// out[i] = in[n - 1 - i], each block through its shared memory.
template <bool kBarrier>
__global__ void reverse_block(int* out, const int* in) {
    __shared__ int tile[256];
    tile[threadIdx.x] = in[blockIdx.x * blockDim.x + threadIdx.x];
    if (kBarrier) __syncthreads();
    out[blockIdx.x * blockDim.x + threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

}  // namespace

TEST_CASE("a kernel without its barrier gives other results in another schedule", "[emu]") {
    cuda::Device<float> device;
    std::vector<int> in(1024);
    for (int i = 0; i < 1024; i++) in[i] = i;
    std::vector<std::vector<int>> with, without;
    for_each_schedule([&] {
        DeviceVector<int> input(in), a(1024), b(1024);
        cuda::launch(device, "reverse_block", reverse_block<true>, 4, 256, 0, a.data(), input.data());
        cuda::launch(device, "reverse_block", reverse_block<false>, 4, 256, 0, b.data(), input.data());
        with.push_back(a.download());
        without.push_back(b.download());
    });
    CHECK(with[0][0] == 255);
    CHECK(with[0][1023] == 768);
    CHECK(with[0] == with[1]);
    CHECK(with[0] == with[2]);
    CHECK(without[0] != without[1]);
}
