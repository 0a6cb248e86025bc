// The Euclidean norm of a flat buffer, from one block to the two kernels that the program runs.
//
//   norm = sqrt(sum_i x[i]^2)
//
// x is fp32, sums are in double, and the norm ends up on the host, for which a step waits: every version's time
// includes that.
//
//   kernel 1   one block: one multiprocessor's share of the memory's rate
//   kernel 2   512 blocks leave a partial sum each, which a second kernel adds: always in the same order
//   kernel 3   llmc/cuda/global_norm.cuh: the same with 16 bytes a load
//
// Bytes: x read.
#include "dev/cuda/common.cuh"
#include "llmc/cpu/global_norm.h"
#include "llmc/cuda/global_norm.cuh"

namespace {

using namespace benchmark;

// Adds pairs of a warp's lanes, then warps; every thread of the block gets the sum.
__device__ double block_sum(double x) {
    __shared__ double of_warp[cuda::kWarpSize];
    const int lane = threadIdx.x % cuda::kWarpSize, warp = threadIdx.x / cuda::kWarpSize;
    for (int distance = cuda::kWarpSize / 2; distance > 0; distance /= 2)
        x += __shfl_xor_sync(cuda::kFullMask, x, distance);
    if (lane == 0) of_warp[warp] = x;
    __syncthreads();
    double sum = 0;
    for (int w = 0; w < static_cast<int>(blockDim.x) / cuda::kWarpSize; w++) sum += of_warp[w];
    return sum;
}

__global__ void global_norm_kernel1(double* norm, const float* x, int64_t count) {
    double sum = 0;
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) sum += static_cast<double>(x[i]) * x[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *norm = sqrt(sum);
}

// cuda::root_of_sum_kernel follows: one block with a thread for each partial sum.
__global__ void global_norm_kernel2(double* partial, const float* x, int64_t count) {
    double sum = 0;
    const int64_t step = int64_t{gridDim.x} * blockDim.x;
    for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step)
        sum += static_cast<double>(x[i]) * x[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

void measure(const Bench<float>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t count = shape[0];
    const Tensor<float> x(1, count, 1);
    const Tensor<double> workspace(1, cuda::global_norm_workspace(device));
    double norm = 0, expected = 0;
    const auto first_of_workspace = [&] {
        double value = 0;
        CUDA_CHECK(cudaMemcpyAsync(&value, workspace.data(), sizeof value, cudaMemcpyDeviceToHost, device.stream));
        CUDA_CHECK(cudaStreamSynchronize(device.stream));
        return value;
    };
    const auto compare = [&] {
        // Some thousand additions in double, there and here.
        const double error = std::abs(norm - expected), bound = 1e-12 * expected;
        if (error <= bound) return Difference{error / bound, ""};
        return Difference{0, concat("the norm is ", norm, ", expected ", expected, " within ", bound)};
    };
    bench.run({
        .name = "global_norm",
        .shape = shape,
        .work = moved(x.bytes()),
        .reference =
            [&] {
                auto host = x.host<float>();
                std::vector<double> partial(cpu::kNormBlocks);
                expected = cpu::global_norm<float>({}, {host.data(), static_cast<size_t>(count)}, partial);
            },
        .outputs = {{[&] {
                         workspace.poison();
                         norm = std::nan("");
                     },
                     compare}},
        .versions = {{1,
                      "one block",
                      {1024, 32, 64, 128, 256, 512},
                      [&](int block) {
                          cuda::launch(device, "global_norm_kernel1", global_norm_kernel1, 1, block, 0,
                                       workspace.data(), x.data(), count);
                          norm = first_of_workspace();
                      }},
                     {2,
                      "512 partial sums, then one",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "global_norm_kernel2", global_norm_kernel2, cuda::kNormBlocks, block, 0,
                                       workspace.data(), x.data(), count);
                          cuda::launch(device, "root_of_sum", cuda::root_of_sum_kernel<double>, 1, cuda::kNormBlocks, 0,
                                       workspace.data());
                          norm = first_of_workspace();
                      }},
                     {3,
                      "llmc: 16-byte loads",
                      {},
                      [&](int) { norm = cuda::global_norm(device, x.span(), workspace.span()); }}},
    });
}

const Program kProgram{
    .operators = "global_norm",
    .dimensions = "parameters",
    .odd = {{1}, {7}, {1000}, {8301}},
    .timed = {{25'000'000}, {100'000'000}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram, [](const Bench<float>& bench, const Shape& shape) { measure(bench, shape); });
}
