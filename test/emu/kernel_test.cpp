// The emulator runs kernels as CUDA does, and catches kernels whose result CUDA leaves open.
#include <numeric>
#include <string>

#include "test/llmc/cuda/support.h"

using namespace cuda_test;

namespace {

bool contains(const std::string& text, const std::string& part) {
    UNSCOPED_INFO("in \"" << text << "\" looking for \"" << part << '"');
    return text.find(part) != std::string::npos;
}

// The message of the error that `action` throws, or "".
template <class Action>
std::string error_of(Action action) {
    try {
        action();
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return "";
}

// ---- the grid ----

__global__ void number_threads(int* out) {
    const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const int i = block * blockDim.x * blockDim.y * blockDim.z + thread;
    out[i] = i;
}

// ---- barriers ----

// Each block reverses its part of `in`, through shared memory.
template <bool kBarrier>
__global__ void reverse_blocks(int* out, const int* in) {
    __shared__ int tile[256];
    tile[threadIdx.x] = in[blockIdx.x * blockDim.x + threadIdx.x];
    if (kBarrier) __syncthreads();
    out[blockIdx.x * blockDim.x + threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

// Sums of warps go through shared memory twice. Without the barrier in between, a fast warp's second sum can overtake a
// slow warp's look at the first.
template <bool kBarrier>
__global__ void sum_twice(float* out) {
    __shared__ float of_warp[8];
    float sum = 0;
    for (int round = 0; round < 2; round++) {
        const float mine = cuda::warp_sum(static_cast<float>(threadIdx.x * (round + 1)));
        if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = mine;
        __syncthreads();
        for (unsigned w = 0; w < blockDim.x / 32; w++) sum += of_warp[w];
        if (kBarrier) __syncthreads();
    }
    out[threadIdx.x] = sum;
}

__global__ void return_before_barrier() {
    if (threadIdx.x == 5) return;
    __syncthreads();
}

__global__ void wait_at_two_barriers() {
    if (threadIdx.x < 40) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}

__global__ void count_votes(int* out) {
    out[threadIdx.x] = __syncthreads_count(threadIdx.x % 3 == 0);
    out[threadIdx.x] += 1000 * __syncthreads_or(threadIdx.x == 7);
    out[threadIdx.x] += 2000 * __syncthreads_and(threadIdx.x != 7);
}

// ---- warps ----

__global__ void sum_half_warp(float* out, unsigned mask) {
    if (threadIdx.x >= 16) return;
    out[threadIdx.x] = __shfl_down_sync(mask, static_cast<float>(threadIdx.x), 1, 16);
}

__global__ void shuffle_out_of_mask(int* out) {
    if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffff, static_cast<int>(threadIdx.x), 20);
}

__global__ void shuffle_beside_ballot() {
    if (threadIdx.x < 16)
        __shfl_sync(cuda::kFullMask, 1, 0);
    else
        __ballot_sync(cuda::kFullMask, 1);
}

// ---- memory ----

__global__ void fill(float* out, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) out[i] = 1;
}

__global__ void fill_shared(int count) {
    float* tile = cuda::shared_memory<float>();
    for (int i = threadIdx.x; i < count; i += blockDim.x) tile[i] = 1;
}

__global__ void sum_unwritten_shared(float* out) {
    const float* tile = cuda::shared_memory<float>();
    out[threadIdx.x] = tile[threadIdx.x];
}

// The results of a kernel that writes `size` elements, in three schedules.
template <class T, class Launch>
std::vector<std::vector<T>> in_each_schedule(int64_t size, Launch launch) {
    std::vector<std::vector<T>> results;
    for_each_schedule([&] {
        DeviceVector<T> out(size);
        launch(out.data());
        results.push_back(out.download());
    });
    return results;
}

}  // namespace

TEST_CASE("every thread of a grid runs once and knows its place", "[emu]") {
    const cuda::Device<float> device;
    const auto [grid, block] = GENERATE(table<dim3, dim3>({{{1}, {1}}, {{5, 3, 2}, {4, 3, 7}}, {{300}, {1024}}}));
    const int64_t threads = int64_t{grid.x} * grid.y * grid.z * block.x * block.y * block.z;
    std::vector<int> expected(threads);
    std::iota(expected.begin(), expected.end(), 0);
    for (const auto& out : in_each_schedule<int>(
             threads, [&](int* out) { cuda::launch(device, "number_threads", number_threads, grid, block, 0, out); }))
        CHECK(out == expected);
}

TEST_CASE("a missing barrier between a write and a read shows as a difference between schedules", "[emu]") {
    const cuda::Device<float> device;
    std::vector<int> in(1024), expected(1024);
    for (int i = 0; i < 1024; i++) in[i] = i, expected[i] = i / 256 * 256 + 255 - i % 256;
    const DeviceVector<int> input(in);
    for (const auto& out : in_each_schedule<int>(1024, [&](int* out) {
             cuda::launch(device, "reverse_blocks", reverse_blocks<true>, 4, 256, 0, out, input.data());
         }))
        CHECK(out == expected);
    const auto broken = in_each_schedule<int>(1024, [&](int* out) {
        cuda::launch(device, "reverse_blocks", reverse_blocks<false>, 4, 256, 0, out, input.data());
    });
    CHECK(broken[0] != broken[1]);
    CHECK(broken[0] != broken[2]);
}

TEST_CASE("a missing barrier between a read and the next write shows as a difference between schedules", "[emu]") {
    const cuda::Device<float> device;
    const float sum = 3 * 255 * 256 / 2;
    for (const auto& out : in_each_schedule<float>(
             256, [&](float* out) { cuda::launch(device, "sum_twice", sum_twice<true>, 1, 256, 0, out); }))
        CHECK(out == std::vector<float>(256, sum));
    const auto broken = in_each_schedule<float>(
        256, [&](float* out) { cuda::launch(device, "sum_twice", sum_twice<false>, 1, 256, 0, out); });
    CHECK(broken[0] != broken[1]);
    CHECK(broken[0] != broken[2]);
}

TEST_CASE("a barrier that a thread never reaches is named", "[emu]") {
    const cuda::Device<float> device;
    for_each_schedule([&] {
        const std::string error =
            error_of([&] { cuda::launch(device, "return_before_barrier", return_before_barrier, dim3(1, 2), 64, 0); });
        CHECK(contains(error, "kernel return_before_barrier, block (0,"));
        CHECK(contains(error, "waits in __syncthreads at test/emu/kernel_test.cpp:"));
        CHECK(contains(error, "but thread (5,0,0) has returned"));
    });
    const std::string error =
        error_of([&] { cuda::launch(device, "wait_at_two_barriers", wait_at_two_barriers, 1, 64, 0); });
    CHECK(contains(error, "kernel wait_at_two_barriers, block (0,0,0), thread (40,0,0): waits in __syncthreads at"));
    CHECK(contains(error, "while thread (0,0,0) waits in __syncthreads at"));
}

TEST_CASE("a block counts its votes", "[emu]") {
    const cuda::Device<float> device;
    for (const auto& out :
         in_each_schedule<int>(96, [&](int* out) { cuda::launch(device, "count_votes", count_votes, 1, 96, 0, out); }))
        CHECK(out == std::vector<int>(96, 1032));
}

TEST_CASE("a shuffle among half a warp needs the mask of that half", "[emu]") {
    const cuda::Device<float> device;
    const auto run = [&](unsigned mask, float* out) {
        cuda::launch(device, "sum_half_warp", sum_half_warp, 1, 32, 0, out, mask);
    };
    for (const auto& out : in_each_schedule<float>(16, [&](float* out) { run(0xffff, out); }))
        for (int i = 0; i < 16; i++) CHECK(out[i] == static_cast<float>(i < 15 ? i + 1 : i));

    const DeviceVector<float> out(16);
    const std::string absent = error_of([&] { run(0x1ffff, out.data()); });
    CHECK(contains(absent, "kernel sum_half_warp, block (0,0,0), thread (0,0,0): waits in __shfl_down_sync at "));
    CHECK(contains(absent, "with mask 0x1ffff, but lane 16 has returned"));
    const std::string left_out = error_of([&] { run(0xfffe, out.data()); });
    CHECK(contains(left_out, "thread (0,0,0): calls __shfl_down_sync at"));
    CHECK(contains(left_out, "with mask 0xfffe, which leaves out the calling lane 0"));
    const std::string no_thread =
        error_of([&] { cuda::launch(device, "sum_half_warp", sum_half_warp, 1, 16, 0, out.data(), cuda::kFullMask); });
    CHECK(contains(no_thread, "but the block has no thread for lane 16"));
}

TEST_CASE("a shuffle from a lane outside the mask is refused", "[emu]") {
    const cuda::Device<float> device;
    const DeviceVector<int> out(16);
    const std::string error =
        error_of([&] { cuda::launch(device, "shuffle_out_of_mask", shuffle_out_of_mask, 1, 32, 0, out.data()); });
    CHECK(contains(error, "kernel shuffle_out_of_mask"));
    CHECK(contains(error, "lane 0 shuffles from lane 20, which is not in the mask"));
}

TEST_CASE("lanes that wait for each other in different places are named", "[emu]") {
    const cuda::Device<float> device;
    const std::string error =
        error_of([&] { cuda::launch(device, "shuffle_beside_ballot", shuffle_beside_ballot, 1, 32, 0); });
    CHECK(contains(error, "waits in __shfl_sync at"));
    CHECK(contains(error, "but lane 16 waits in __ballot_sync at"));
}

TEST_CASE("an output that no thread writes stays poison", "[emu]") {
    const cuda::Device<float> device;
    const DeviceVector<float> out(8);
    cuda::launch(device, "fill", fill, 1, 32, 0, out.data(), 7);
    const std::vector<float> values = out.download();
    CHECK(values[6] == 1);
    CHECK(std::isnan(values[7]));
    const DeviceVector<bf16> narrow(1);
    CHECK(std::isnan(widen(narrow.download()[0])));
}

TEST_CASE("dynamic shared memory is poison at the beginning of every block", "[emu]") {
    const cuda::Device<float> device;
    const DeviceVector<float> out(32);
    cuda::launch(device, "fill_shared", fill_shared, 1, 32, 128, 32);
    cuda::launch(device, "sum_unwritten_shared", sum_unwritten_shared, 1, 32, 128, out.data());
    for (float x : out.download()) CHECK(std::isnan(x));
}

#if !defined(__SANITIZE_ADDRESS__)  // which stops the program at the access itself
TEST_CASE("a write past an output is reported with the kernel's name", "[emu]") {
    const cuda::Device<float> device;
    const DeviceVector<float> out(8);
    const std::string error = error_of([&] { cuda::launch(device, "fill", fill, 1, 32, 0, out.data(), 9); });
    CHECK(error == "kernel fill: wrote byte 32 of an allocation of 32 bytes");
    const std::string before = error_of([&] { cuda::launch(device, "fill", fill, 1, 32, 0, out.data() - 1, 8); });
    CHECK(contains(before, "argument 1 points to memory that is not the device's"));
}

TEST_CASE("a write past the dynamic shared memory is reported with the kernel's name", "[emu]") {
    const cuda::Device<float> device;
    const std::string error = error_of([&] { cuda::launch(device, "fill_shared", fill_shared, 1, 32, 128, 33); });
    CHECK(error == "kernel fill_shared, block (0,0,0): wrote byte 128 of 128 bytes of dynamic shared memory");
}
#endif

TEST_CASE("host memory among a kernel's arguments is refused", "[emu]") {
    const cuda::Device<float> device;
    std::vector<float> host(8);
    const std::string error = error_of([&] { cuda::launch(device, "fill", fill, 1, 32, 0, host.data(), 8); });
    CHECK(error == "kernel fill: argument 1 points to memory that is not the device's");
}

TEST_CASE("a launch that CUDA refuses names the kernel and its configuration", "[emu]") {
    const cuda::Device<float> device;
    const DeviceVector<float> out(8);
    const auto run = [&](dim3 grid, dim3 block, size_t shared) {
        return error_of([&] { cuda::launch(device, "fill", fill, grid, block, shared, out.data(), 8); });
    };
    CHECK(
        run(1, 1025, 0) ==
        "CUDA kernel fill on a grid of 1x1x1 blocks of 1025x1x1 threads with 0 bytes of shared memory (GPU 0, compute "
        "capability 8.0) failed: invalid configuration argument");
    CHECK(contains(run(1, dim3(32, 33), 0), "blocks of 32x33x1 threads"));
    CHECK(contains(run(1, dim3(1, 1, 65), 0), "invalid configuration"));
    CHECK(contains(run(dim3(1, 65536), 32, 0), "invalid configuration"));
    CHECK(contains(run(1, 0, 0), "invalid configuration"));
    CHECK(contains(run(1, 32, (163 << 10) + 1), "166913 bytes of shared memory"));
    CHECK(run(1, 32, 163 << 10).empty());
    CHECK(run(1, 32, 0).empty());  // no error is left behind
}

TEST_CASE("a grid of no blocks launches nothing", "[emu]") {
    const cuda::Device<float> device;
    const int64_t before = emu::kernels_launched();
    cuda::launch(device, "fill", fill, dim3(4, 0), 32, 0, static_cast<float*>(nullptr), 8);
    CHECK(emu::kernels_launched() == before);
}

TEST_CASE("a kernel runs as usual after one that failed", "[emu]") {
    const cuda::Device<float> device;
    CHECK(!error_of([&] { cuda::launch(device, "return_before_barrier", return_before_barrier, 64, 64, 0); }).empty());
    for (const auto& out : in_each_schedule<float>(
             256, [&](float* out) { cuda::launch(device, "sum_twice", sum_twice<true>, 1, 256, 0, out); }))
        CHECK(out == std::vector<float>(256, 3 * 255 * 256 / 2));
}
