#include "test/emu/host_api.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "test/emu/emulator.h"
#include "test/emu/machine.h"
#include "test/emu/memory.h"

struct CUstream_st {};
struct CUevent_st {
    std::chrono::steady_clock::time_point recorded;
};

namespace emu {
namespace {

thread_local cudaError_t last_error = cudaSuccess;
thread_local int current_device = 0;

std::atomic<int64_t> allocation_calls = 0, waiting_calls = 0;

std::mutex mutex;  // of the three below
std::map<const void*, size_t> dynamic_shared_memory;
std::set<const void*> streams, events;

// Every runtime function runs as call([&] { ... }), which injects the errors that tests ask for and keeps the last
// error.
template <class Body>
cudaError_t call(Body body) {
    Machine& m = machine();
    if (m.failing_call > 0 && --m.failing_call == 0) {
        if (m.failure_lasts) m.failing_call = 1;
        return report(m.failure);
    }
    if (m.devices == 0) return report(cudaErrorNoDevice);
    return report(body());
}

cudaError_t valid(bool condition, cudaError_t otherwise = cudaErrorInvalidValue) {
    return condition ? cudaSuccess : otherwise;
}

bool valid_device(int device) {
    return device >= 0 && device < machine().devices;
}

bool is_live(const std::set<const void*>& handles, const void* handle) {
    std::lock_guard lock(mutex);
    return handles.contains(handle);
}

template <class Body>
cudaError_t allocation_call(Body body) {
    ++allocation_calls;
    return call(body);
}

template <class Body>
cudaError_t waiting_call(Body body) {
    ++waiting_calls;
    return call(body);
}

// A copy between the device and host memory that is not page-locked keeps the host waiting.
bool in_background(const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    if (kind == cudaMemcpyHostToDevice) return device_accessible(from, bytes);
    if (kind == cudaMemcpyDeviceToHost) return device_accessible(to, bytes);
    return true;
}

// The null stream always exists.
cudaError_t valid_stream(cudaStream_t stream) {
    return valid(!stream || is_live(streams, stream), cudaErrorInvalidResourceHandle);
}

cudaError_t valid_event(cudaEvent_t event) {
    return valid(is_live(events, event), cudaErrorInvalidResourceHandle);
}

template <class Handle, class Object>
cudaError_t create(std::set<const void*>& handles, Handle* handle, Object* object) {
    std::lock_guard lock(mutex);
    handles.insert(object);
    *handle = object;
    return cudaSuccess;
}

template <class Handle>
cudaError_t destroy(std::set<const void*>& handles, Handle handle) {
    std::lock_guard lock(mutex);
    if (handles.erase(handle) == 0) return cudaErrorInvalidResourceHandle;
    delete handle;
    return cudaSuccess;
}

cudaError_t copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    if (bytes == 0) return cudaSuccess;
    const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    if (from_device && !device_accessible(from, bytes)) return cudaErrorInvalidValue;
    if (to_device && !device_accessible(to, bytes)) return cudaErrorInvalidValue;
    if (kind == cudaMemcpyDeviceToHost && in_device_memory(to, 1)) return cudaErrorInvalidValue;
    if (kind == cudaMemcpyHostToDevice && in_device_memory(from, 1)) return cudaErrorInvalidValue;
    std::memmove(to, from, bytes);
    return cudaSuccess;
}

cudaError_t set(void* address, int value, size_t bytes) {
    if (bytes == 0) return cudaSuccess;
    if (!device_accessible(address, bytes)) return cudaErrorInvalidValue;
    std::memset(address, value, bytes);
    return cudaSuccess;
}

cudaError_t allocate_for(MemoryOwner owner, void** address, size_t bytes) {
    *address = bytes > 0 ? allocate(owner, current_device, bytes) : nullptr;
    return valid(bytes == 0 || *address, cudaErrorMemoryAllocation);
}

}  // namespace

Machine& machine() {
    static Machine machine;
    return machine;
}

HostCalls host_calls() {
    return {allocation_calls, waiting_calls};
}

cudaError_t report(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
}

size_t shared_memory_per_block_optin() {
    switch (machine().major * 10 + machine().minor) {
        case 75:
            return 64 << 10;
        case 80:
        case 87:
            return 163 << 10;
        case 86:
        case 89:
        case 120:
            return 99 << 10;
        case 90:
        case 100:
            return 227 << 10;
        default:
            return kDefaultSharedBytes;
    }
}

size_t shared_memory_allowed(const void* kernel) {
    std::lock_guard lock(mutex);
    const auto found = dynamic_shared_memory.find(kernel);
    return found == dynamic_shared_memory.end() ? kDefaultSharedBytes : std::max(found->second, kDefaultSharedBytes);
}

}  // namespace emu

using namespace emu;

cudaError_t cudaGetLastError() {
    return std::exchange(last_error, cudaSuccess);
}
cudaError_t cudaPeekAtLastError() {
    return last_error;
}

cudaError_t cudaGetDeviceCount(int* count) {
    const Machine& here = machine();
    // A driver runs programs of its own CUDA major version and of older ones.
    const bool driver_suffices = here.driver_version / 1000 >= here.runtime_version / 1000;
    *count = driver_suffices ? here.devices : 0;
    return call([&] { return driver_suffices ? cudaSuccess : cudaErrorInsufficientDriver; });
}

cudaError_t cudaDeviceGetPCIBusId(char* place, int length, int device) {
    return call([&] {
        if (!valid_device(device)) return cudaErrorInvalidDevice;
        std::snprintf(place, static_cast<size_t>(length), "0000:%02X:00.0", device + 1);
        return cudaSuccess;
    });
}

cudaError_t cudaSetDevice(int device) {
    return call([&] {
        if (valid_device(device)) current_device = device;
        return valid(valid_device(device), cudaErrorInvalidDevice);
    });
}

cudaError_t cudaGetDevice(int* device) {
    return call([&] {
        *device = current_device;
        return cudaSuccess;
    });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
    return call([&] {
        if (!valid_device(device)) return cudaErrorInvalidDevice;
        const Machine& m = machine();
        *properties = {};
        std::snprintf(properties->name, sizeof(properties->name), "Emulated GPU sm_%d%d", m.major, m.minor);
        properties->totalGlobalMem = m.memory;
        properties->sharedMemPerBlock = kDefaultSharedBytes;
        properties->sharedMemPerBlockOptin = shared_memory_per_block_optin();
        properties->sharedMemPerMultiprocessor = shared_memory_per_block_optin() + 1024;
        properties->warpSize = 32;
        properties->maxThreadsPerBlock = 1024;
        properties->maxThreadsPerMultiProcessor = m.major == 7 ? 1024 : 2048;
        properties->multiProcessorCount = m.multiprocessors;
        properties->major = m.major;
        properties->minor = m.minor;
        properties->l2CacheSize = 4 << 20;
        properties->memoryBusWidth = 256;
        properties->pciDeviceID = device;
        return cudaSuccess;
    });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
    return call([&] {
        if (!valid_device(device)) return cudaErrorInvalidDevice;
        switch (attribute) {
            case cudaDevAttrMaxThreadsPerBlock:
                *value = 1024;
                break;
            case cudaDevAttrMaxSharedMemoryPerBlock:
                *value = kDefaultSharedBytes;
                break;
            case cudaDevAttrWarpSize:
                *value = 32;
                break;
            case cudaDevAttrClockRate:
                *value = 1000000;
                break;  // kHz
            case cudaDevAttrMemoryClockRate:
                *value = 1000000;
                break;  // kHz
            case cudaDevAttrGlobalMemoryBusWidth:
                *value = 256;
                break;
            case cudaDevAttrMultiProcessorCount:
                *value = machine().multiprocessors;
                break;
            case cudaDevAttrL2CacheSize:
                *value = 4 << 20;
                break;
            case cudaDevAttrMaxThreadsPerMultiProcessor:
                *value = machine().major == 7 ? 1024 : 2048;
                break;
            case cudaDevAttrComputeCapabilityMajor:
                *value = machine().major;
                break;
            case cudaDevAttrComputeCapabilityMinor:
                *value = machine().minor;
                break;
            case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
                *value = static_cast<int>(shared_memory_per_block_optin()) + 1024;
                break;
            case cudaDevAttrMaxSharedMemoryPerBlockOptin:
                *value = static_cast<int>(shared_memory_per_block_optin());
                break;
            default:
                return cudaErrorInvalidValue;
        }
        return cudaSuccess;
    });
}

cudaError_t cudaDeviceSynchronize() {
    return waiting_call([] { return cudaSuccess; });
}

cudaError_t cudaDriverGetVersion(int* version) {
    *version = machine().driver_version;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = machine().runtime_version;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void** address, size_t bytes) {
    return allocation_call([&] { return allocate_for(MemoryOwner::device, address, bytes); });
}

cudaError_t cudaFree(void* address) {
    return allocation_call([&] { return valid(!address || release(MemoryOwner::device, address)); });
}

cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned) {
    return allocation_call([&] { return allocate_for(MemoryOwner::pinned_host, address, bytes); });
}

cudaError_t cudaMallocHost(void** address, size_t bytes) {
    return cudaHostAlloc(address, bytes, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void* address) {
    return allocation_call([&] { return valid(!address || release(MemoryOwner::pinned_host, address)); });
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
    return call([&] {
        const size_t used = allocated_on(current_device);
        *total = machine().memory;
        *free = *total - std::min(used, *total);
        return cudaSuccess;
    });
}

cudaError_t cudaMemset(void* address, int value, size_t bytes) {
    return waiting_call([&] { return set(address, value, bytes); });
}

cudaError_t cudaMemsetAsync(void* address, int value, size_t bytes, cudaStream_t stream) {
    return call([&] {
        const cudaError_t error = valid_stream(stream);
        return error == cudaSuccess ? set(address, value, bytes) : error;
    });
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    return waiting_call([&] { return copy(to, from, bytes, kind); });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    if (!in_background(to, from, bytes, kind)) ++waiting_calls;
    return call([&] {
        const cudaError_t error = valid_stream(stream);
        return error == cudaSuccess ? copy(to, from, bytes, kind) : error;
    });
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
    if (!in_background(to, from, width, kind)) ++waiting_calls;
    return call([&] {
        cudaError_t error = valid_stream(stream);
        if (width > to_pitch || width > from_pitch) error = cudaErrorInvalidValue;
        for (size_t row = 0; row < height && error == cudaSuccess; row++)
            error = copy(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch,
                         width, kind);
        return error;
    });
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
    return call([&] { return create(streams, stream, new CUstream_st); });
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    return cudaStreamCreate(stream);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    return call([&] { return destroy(streams, stream); });
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    return waiting_call([&] { return valid_stream(stream); });
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
    return cudaStreamSynchronize(stream);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    return call([&] {
        const cudaError_t error = valid_stream(stream);
        return error == cudaSuccess ? valid_event(event) : error;
    });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
    return call([&] { return create(events, event, new CUevent_st); });
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
    return cudaEventCreate(event);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    return call([&] { return destroy(events, event); });
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    return call([&] {
        cudaError_t error = valid_stream(stream);
        if (error == cudaSuccess) error = valid_event(event);
        if (error == cudaSuccess) event->recorded = std::chrono::steady_clock::now();
        return error;
    });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    return call([&] { return valid_event(event); });
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
    return cudaEventSynchronize(event);
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t stop) {
    return call([&] {
        if (valid_event(start) != cudaSuccess || valid_event(stop) != cudaSuccess)
            return cudaErrorInvalidResourceHandle;
        *milliseconds = std::chrono::duration<float, std::milli>(stop->recorded - start->recorded).count();
        return cudaSuccess;
    });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
    return call([&] {
        *attributes = {.sharedSizeBytes = 0, .maxThreadsPerBlock = 1024, .numRegs = 32};
        return cudaSuccess;
    });
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
    return call([&] {
        if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
        if (value < 0 || static_cast<size_t>(value) > shared_memory_per_block_optin()) return cudaErrorInvalidValue;
        std::lock_guard lock(mutex);
        dynamic_shared_memory[kernel] = static_cast<size_t>(value);
        return cudaSuccess;
    });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int block_size, size_t) {
    return call([&] {
        *blocks = block_size > 0 ? std::max(1, 1024 / block_size) : 0;
        return valid(block_size > 0);
    });
}
