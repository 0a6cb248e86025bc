// The emulated runtime answers as the real one does, and refuses what the real one refuses.
#include <vector>

#include "test/catch.h"
#include "test/emu/cuda_runtime.h"
#include "test/emu/memory.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace {

// Resets the machine.
struct WithMachine {
    ~WithMachine() {
        emu::machine() = {};
        cudaGetLastError();
    }
    emu::Machine* operator->() { return &emu::machine(); }
};

}  // namespace

TEST_CASE("device memory is counted, and ends", "[emu][host]") {
    WithMachine machine;
    size_t before = 0, free = 0, total = 0;
    REQUIRE(cudaMemGetInfo(&before, &total) == cudaSuccess);
    machine->memory = total - before + 1000;
    char *a = nullptr, *b = nullptr;
    REQUIRE(cudaMalloc(&a, 600) == cudaSuccess);
    CHECK(cudaMemGetInfo(&free, &total) == cudaSuccess);
    CHECK(free == 400);
    CHECK(cudaMalloc(&b, 401) == cudaErrorMemoryAllocation);
    CHECK(b == nullptr);
    CHECK(cudaPeekAtLastError() == cudaErrorMemoryAllocation);
    CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
    CHECK(cudaGetLastError() == cudaSuccess);
    CHECK(cudaFree(a) == cudaSuccess);
    CHECK(cudaMalloc(&b, 1000) == cudaSuccess);
    CHECK(reinterpret_cast<uintptr_t>(b) % 256 == 0);
    CHECK(cudaFree(b) == cudaSuccess);
}

TEST_CASE("memory is freed once, by the function of its kind", "[emu][host]") {
    WithMachine machine;
    void *device = nullptr, *pinned = nullptr, *none = nullptr;
    REQUIRE(cudaMalloc(&device, 8) == cudaSuccess);
    REQUIRE(cudaHostAlloc(&pinned, 8, cudaHostAllocDefault) == cudaSuccess);
    CHECK(cudaMalloc(&none, 0) == cudaSuccess);
    CHECK(none == nullptr);
    CHECK(cudaFree(pinned) == cudaErrorInvalidValue);
    CHECK(cudaFreeHost(device) == cudaErrorInvalidValue);
    CHECK(cudaFree(static_cast<char*>(device) + 4) == cudaErrorInvalidValue);
    CHECK(cudaFree(device) == cudaSuccess);
    CHECK(cudaFree(device) == cudaErrorInvalidValue);
    CHECK(cudaFree(nullptr) == cudaSuccess);
    CHECK(cudaFreeHost(pinned) == cudaSuccess);
}

TEST_CASE("copies move bytes between sides that are what they are said to be", "[emu][host]") {
    WithMachine machine;
    std::vector<int> in{1, 2, 3, 4}, out(4);
    int *a = nullptr, *b = nullptr;
    REQUIRE(cudaMalloc(&a, 16) == cudaSuccess);
    REQUIRE(cudaMalloc(&b, 16) == cudaSuccess);
    CHECK(cudaMemcpy(out.data(), a, 16, cudaMemcpyDeviceToHost) == cudaSuccess);
    CHECK(out == std::vector<int>(4, -1));  // poison
    CHECK(cudaMemcpy(a, in.data(), 16, cudaMemcpyHostToDevice) == cudaSuccess);
    CHECK(cudaMemcpyAsync(b, a, 16, cudaMemcpyDeviceToDevice) == cudaSuccess);
    CHECK(cudaMemcpyAsync(out.data(), b, 16, cudaMemcpyDeviceToHost) == cudaSuccess);
    CHECK(out == in);
    CHECK(cudaMemset(b, 0, 8) == cudaSuccess);
    CHECK(cudaMemcpy(out.data(), b, 16, cudaMemcpyDefault) == cudaSuccess);
    CHECK(out == std::vector<int>{0, 0, 3, 4});
    // The second column of two rows of two.
    CHECK(cudaMemcpy2DAsync(out.data(), 4, a + 1, 8, 4, 2, cudaMemcpyDeviceToHost) == cudaSuccess);
    CHECK(out == std::vector<int>{2, 4, 3, 4});

    CHECK(cudaMemcpy(a + 1, in.data(), 16, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
    CHECK(cudaMemcpy(out.data(), in.data(), 16, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
    CHECK(cudaMemcpy(a, b, 16, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
    CHECK(cudaMemset(b + 3, 0, 8) == cudaErrorInvalidValue);
    CHECK(cudaMemcpy2DAsync(out.data(), 4, a, 8, 8, 2, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
    CHECK(cudaFree(a) == cudaSuccess);
    CHECK(cudaMemcpy(out.data(), a, 16, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
    CHECK(cudaFree(b) == cudaSuccess);
}

TEST_CASE("what lies around device memory is out of bounds", "[emu][host]") {
    char* memory = nullptr;
    REQUIRE(cudaMalloc(&memory, 13) == cudaSuccess);
#if defined(__SANITIZE_ADDRESS__)
    CHECK(!__asan_address_is_poisoned(memory));
    CHECK(!__asan_address_is_poisoned(memory + 12));
    CHECK(__asan_address_is_poisoned(memory + 13));
    CHECK(__asan_address_is_poisoned(memory - 1));
#else
    CHECK(emu::find_overrun().empty());
    memory[-2] = 1;
    CHECK(emu::find_overrun() == "wrote byte -2 of an allocation of 13 bytes");
    CHECK(emu::find_overrun().empty());  // each is reported once
#endif
    CHECK(cudaFree(memory) == cudaSuccess);
}

TEST_CASE("streams and events exist between creation and destruction", "[emu][host]") {
    WithMachine machine;
    cudaStream_t stream;
    cudaEvent_t start, stop;
    REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
    REQUIRE(cudaEventCreate(&start) == cudaSuccess);
    REQUIRE(cudaEventCreateWithFlags(&stop, cudaEventDefault) == cudaSuccess);
    CHECK(cudaEventRecord(start, stream) == cudaSuccess);
    CHECK(cudaEventRecord(stop, stream) == cudaSuccess);
    CHECK(cudaStreamWaitEvent(stream, stop) == cudaSuccess);
    CHECK(cudaEventSynchronize(stop) == cudaSuccess);
    float milliseconds = -1;
    CHECK(cudaEventElapsedTime(&milliseconds, start, stop) == cudaSuccess);
    CHECK(milliseconds >= 0);
    CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
    CHECK(cudaStreamSynchronize(nullptr) == cudaSuccess);
    CHECK(cudaEventDestroy(start) == cudaSuccess);
    CHECK(cudaEventDestroy(stop) == cudaSuccess);
    CHECK(cudaStreamDestroy(stream) == cudaSuccess);
    CHECK(cudaStreamSynchronize(stream) == cudaErrorInvalidResourceHandle);
    CHECK(cudaEventRecord(stop) == cudaErrorInvalidResourceHandle);
}

TEST_CASE("what keeps the host waiting and what allocates is counted", "[emu][host]") {
    void *device = nullptr, *pinned = nullptr, *pageable = nullptr;
    std::vector<char> memory(8);
    pageable = memory.data();
    const emu::HostCalls before = emu::host_calls();
    REQUIRE(cudaMalloc(&device, 8) == cudaSuccess);
    REQUIRE(cudaMallocHost(&pinned, 8) == cudaSuccess);
    CHECK(emu::host_calls().allocations == before.allocations + 2);
    CHECK(cudaMemcpyAsync(device, pinned, 8, cudaMemcpyHostToDevice) == cudaSuccess);
    CHECK(cudaMemcpyAsync(pinned, device, 8, cudaMemcpyDeviceToHost) == cudaSuccess);
    CHECK(cudaMemsetAsync(device, 0, 8) == cudaSuccess);
    CHECK(emu::host_calls().waits == before.waits);
    CHECK(cudaMemcpyAsync(device, pageable, 8, cudaMemcpyHostToDevice) == cudaSuccess);
    CHECK(cudaMemcpyAsync(pageable, device, 8, cudaMemcpyDeviceToHost) == cudaSuccess);
    CHECK(cudaStreamSynchronize(nullptr) == cudaSuccess);
    CHECK(emu::host_calls().waits == before.waits + 3);
    CHECK(cudaFree(device) == cudaSuccess);
    CHECK(cudaFreeHost(pinned) == cudaSuccess);
    CHECK(emu::host_calls().allocations == before.allocations + 4);
}

TEST_CASE("a machine has the devices a test gives it", "[emu][host]") {
    WithMachine machine;
    int value = -1;
    machine->devices = 2;
    machine->major = 9;
    machine->minor = 0;
    CHECK(cudaGetDeviceCount(&value) == cudaSuccess);
    CHECK(value == 2);
    CHECK(cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 1) == cudaSuccess);
    CHECK(value == 227 << 10);
    CHECK(cudaSetDevice(1) == cudaSuccess);
    CHECK(cudaGetDevice(&value) == cudaSuccess);
    CHECK(value == 1);
    CHECK(cudaSetDevice(2) == cudaErrorInvalidDevice);
    CHECK(cudaSetDevice(0) == cudaSuccess);
    cudaDeviceProp properties;
    CHECK(cudaGetDeviceProperties(&properties, 0) == cudaSuccess);
    CHECK(std::string(properties.name) == "Emulated GPU sm_90");
    machine->devices = 0;
    CHECK(cudaGetDeviceCount(&value) == cudaErrorNoDevice);
    CHECK(value == 0);
}

TEST_CASE("the n-th call fails when a test asks for it", "[emu][host]") {
    WithMachine machine;
    machine->failing_call = 2;
    machine->failure = cudaErrorIllegalAddress;
    CHECK(cudaDeviceSynchronize() == cudaSuccess);
    CHECK(cudaDeviceSynchronize() == cudaErrorIllegalAddress);
    CHECK(cudaDeviceSynchronize() == cudaSuccess);
    CHECK(cudaGetLastError() == cudaErrorIllegalAddress);
    machine->failing_call = 2;
    machine->failure_lasts = true;
    CHECK(cudaDeviceSynchronize() == cudaSuccess);
    CHECK(cudaDeviceSynchronize() == cudaErrorIllegalAddress);
    CHECK(cudaDeviceSynchronize() == cudaErrorIllegalAddress);
}
