#include "llmc/cuda/device.cuh"

#include <algorithm>
#include <string>

#include "llmc/core/arena.h"
#include "llmc/cuda/runtime/gpu.h"
#include "test/files.h"
#include "test/llmc/cuda/support.h"

using test::error_of;

TEST_CASE("device memory is zero when it is handed out", "[cuda][device]") {
    const cuda::Device<float> device;
    void* block = device.allocate(1000);
    REQUIRE(block != nullptr);
    std::vector<char> bytes(1000, 1);
    CUDA_CHECK(cudaMemcpy(bytes.data(), block, 1000, cudaMemcpyDeviceToHost));
    device.synchronize();
    CHECK(std::count(bytes.begin(), bytes.end(), 0) == 1000);
    device.release(block, 1000);
}

TEST_CASE("memory that cannot be had is null, and the arena names the tensor", "[cuda][device]") {
    const cuda::Device<float> device;
    CHECK(device.allocate(int64_t{1} << 50) == nullptr);
    CHECK(cudaPeekAtLastError() == cudaSuccess);  // the next launch does not report it
    enum class Kind { activations };
    constexpr llmc::MemoryKindInfo kinds[] = {{"activations", "", true}};
    llmc::Arena arena(device, kinds);
    llmc::Matrix<float> view;
    const auto layout = [&](auto& from) {
        from.place(view, Kind::activations, "hidden_states", int64_t{1} << 30, 1 << 18);
    };
    CHECK(error_of([&] { arena.build(layout); }).find("hidden_states") != std::string::npos);
}

TEST_CASE("a failed call says what failed, where and why", "[cuda][device]") {
    int value = 0;
    const std::string error = error_of([&] { CUDA_CHECK(cudaDeviceGetAttribute(&value, cudaDevAttrWarpSize, 99)); });
    CHECK(
        error.starts_with("cudaDeviceGetAttribute(&value, cudaDevAttrWarpSize, 99) failed: invalid device ordinal "
                          "(cudaErrorInvalidDevice, test/llmc/cuda/runtime/device_test.cpp:"));
    CHECK(cudaPeekAtLastError() == cudaSuccess);
}

#ifdef LLMC_EMULATED
namespace {

template <class T>
std::string error_on(int major, int minor) {
    emu::machine().major = major;
    emu::machine().minor = minor;
    const std::string error = error_of([] { cuda::Device<T>(); });
    emu::machine() = {};
    return error;
}

}  // namespace

TEST_CASE("a GPU too old for a type says which type it can do", "[cuda][device]") {
    CHECK(error_on<float>(7, 0) ==
          "GPU 0 has compute capability 7.0; int8 tensor cores begin with 7.5 (RTX 20, T4); use --device cpu");
    CHECK(error_on<cuda::bf16>(7, 5) == "GPU 0 has compute capability 7.5; bf16 begins with 8.0; use --dtype fp16");
    CHECK(error_on<cuda::fp16>(7, 5).empty());
    CHECK(error_on<cuda::bf16>(8, 0).empty());
}

TEST_CASE("a program without code for a GPU says how to build it", "[cuda][device]") {
    CHECK(cuda::why_no_gpu().empty());
    emu::machine().failure = cudaErrorNoKernelImageForDevice;
    emu::machine().failing_call = 5;  // after the count of the devices, two of their attributes and the choice of one
    CHECK(cuda::why_no_gpu() ==
          "this program was built without code for the GPU's compute capability 8.0; build it on this machine, or with "
          "GPU_ARCHS=80");
    emu::machine().failure = cudaErrorUnsupportedPtxVersion;
    emu::machine().failing_call = 5;
    CHECK(cuda::why_no_gpu().starts_with(
        "the GPU does not load this program's kernels: the provided PTX was compiled with an unsupported toolchain."));
    emu::machine() = {};
    CHECK(cudaPeekAtLastError() == cudaSuccess);
}

TEST_CASE("a missing driver and an old one are told apart", "[cuda][device]") {
    emu::machine().driver_version = 0;
    CHECK(cuda::why_no_gpu() == "there is no NVIDIA driver here (start a container with docker run --gpus all)");
    emu::machine().driver_version = 12040;
    CHECK(cuda::why_no_gpu() ==
          "the NVIDIA driver is too old: it can run CUDA 12.4, and this program was built with CUDA 13.0; update the "
          "driver, or build with the older CUDA");
    CHECK(cuda::count_gpus() == 0);
    emu::machine().driver_version = 13010;  // newer than the program
    CHECK(cuda::why_no_gpu().empty());
    emu::machine() = {};
    CHECK(cudaPeekAtLastError() == cudaSuccess);
}

TEST_CASE("a GPU whose memory others have taken is reported as such", "[cuda][device]") {
    emu::machine().memory = size_t{20} << 20;
    CHECK(cuda::why_no_gpu().ends_with(" are free (nvidia-smi shows what else runs there)"));
    emu::machine().memory = size_t{8} << 30;
    emu::machine().failure = cudaErrorMemoryAllocation;
    for (const int call : {4, 6}) {  // choosing the GPU, asking for its free memory: where the context is made
        emu::machine().failing_call = call;
        CHECK(cuda::why_no_gpu() ==
              "CUDA does not start on the GPU: out of memory (nvidia-smi shows what else runs there)");
    }
    emu::machine() = {};
    CHECK(cudaPeekAtLastError() == cudaSuccess);
}

TEST_CASE("a device knows its limits", "[cuda][device]") {
    emu::machine().major = 9;
    emu::machine().minor = 0;
    emu::machine().multiprocessors = 132;
    const cuda::Device<cuda::bf16> device;
    emu::machine() = {};
    CHECK(device.sm == 90);
    CHECK(device.multiprocessors == 132);
    CHECK(device.shared_bytes_per_block == 227 << 10);
}

TEST_CASE("whichever call fails while a device is opened and used, the error reaches the caller", "[cuda][device]") {
    emu::machine().failure = cudaErrorIllegalAddress;
    int failures = 0;
    bool failed = true;
    while (failed) {
        emu::machine().failing_call = failures + 1;
        failed = !error_of([] {
                      const cuda::Device<float> device;
                      void* block = device.allocate(16);
                      device.synchronize();
                      device.release(block, 16);
                  }).empty();
        failures += failed;
    }
    emu::machine() = {};
    cudaGetLastError();
    // Setting the device, its five attributes, its memory, cudaMalloc, cudaMemsetAsync, cudaStreamSynchronize.
    CHECK(failures == 10);
}
#endif
