// The integers of micro-batches on their way to the GPU.
//
//   next()          the buffer whose turn it is, to be filled
//   send(dst)       dst = its first dst.size() integers, in the background; no more than it holds
//
// Two buffers in page-locked memory, which the GPU reads directly, take turns: while it copies one, and computes on
// what came before, the host fills the other. next() waits only for the copy of two batches ago.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstdint>
#include <span>

#include "llmc/cuda/device.cuh"
#include "llmc/cuda/runtime/check.cuh"

namespace cuda {

class InputStaging {
  public:
    // Both of `capacity` integers.
    explicit InputStaging(int64_t capacity) : capacity_(static_cast<size_t>(capacity)) {
        for (Buffer& buffer : buffers_) {
            CUDA_CHECK(cudaMallocHost(&buffer.data, capacity_ * sizeof(int32_t)));
            CUDA_CHECK(cudaEventCreateWithFlags(&buffer.read, cudaEventDisableTiming));
        }
    }
    ~InputStaging() {
        for (const Buffer& buffer : buffers_) {
            cudaEventSynchronize(buffer.read);
            cudaEventDestroy(buffer.read);
            cudaFreeHost(buffer.data);
        }
    }
    InputStaging(const InputStaging&) = delete;
    InputStaging& operator=(const InputStaging&) = delete;

    std::span<int32_t> next() {
        turn_ = 1 - turn_;
        CUDA_CHECK(cudaEventSynchronize(buffers_[turn_].read));
        return {buffers_[turn_].data, capacity_};
    }
    template <class T>
    void send(const Device<T>& device, std::span<int32_t> dst) {
        const Buffer& buffer = buffers_[turn_];
        CUDA_CHECK(cudaMemcpyAsync(dst.data(), buffer.data, dst.size_bytes(), cudaMemcpyHostToDevice, device.stream));
        CUDA_CHECK(cudaEventRecord(buffer.read, device.stream));
    }

  private:
    struct Buffer {
        int32_t* data = nullptr;
        cudaEvent_t read = nullptr;  // the GPU has read what was sent last
    };

    size_t capacity_;
    std::array<Buffer, 2> buffers_;
    size_t turn_ = 1;
};

}  // namespace cuda
