// What the CUDA operators' tests share: device memory that is poison until it is written, and the emulator's schedules.
// nvcc compiles the same tests for a GPU; there, DeviceVector keeps the guard zones that the emulator has around every
// allocation.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "llmc/core/dtype.h"
#include "llmc/cuda/device.cuh"
#include "llmc/cuda/kernel/numeric.cuh"
#include "llmc/cuda/runtime/launch.cuh"
#include "test/catch.h"

namespace cuda_test {

using cuda::bf16;
using cuda::fp16;
using llmc::Matrix;

// ---- the storage types on the host ----

template <class T>
T narrow(float x) {
    if constexpr (std::is_same_v<T, bf16>)
        return __nv_bfloat16_raw{llmc::float_to_bf16(x)};
    else if constexpr (std::is_same_v<T, fp16>)
        return __half_raw{llmc::float_to_f16(x)};
    else
        return static_cast<T>(x);
}

template <class T>
float widen(T x) {
    if constexpr (std::is_same_v<T, bf16>)
        return llmc::bf16_to_float(static_cast<__nv_bfloat16_raw>(x).x);
    else if constexpr (std::is_same_v<T, fp16>)
        return llmc::f16_to_float(static_cast<__half_raw>(x).x);
    else
        return static_cast<float>(x);
}

template <class T>
std::vector<T> narrow(const std::vector<float>& x) {
    std::vector<T> out(x.size());
    for (size_t i = 0; i < x.size(); i++) out[i] = narrow<T>(x[i]);
    return out;
}

template <class T>
std::vector<float> widen(const std::vector<T>& x) {
    std::vector<float> out(x.size());
    for (size_t i = 0; i < x.size(); i++) out[i] = widen(x[i]);
    return out;
}

// Half the distance from 1 to the next number: the largest relative error of rounding to T.
template <class T>
constexpr float unit_roundoff() {
    if constexpr (std::is_same_v<T, bf16>)
        return 0x1p-8f;
    else if constexpr (std::is_same_v<T, fp16>)
        return 0x1p-11f;
    else
        return 0x1p-24f;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// ---- device memory ----

// n elements of device memory, poisoned (NaN in float formats, -1 in integers) or uploaded. download() requires that
// nothing was written around them.
template <class T>
class DeviceVector {
  public:
    explicit DeviceVector(int64_t size) : size_(static_cast<size_t>(size)) {
        CUDA_CHECK(cudaMalloc(&block_, size_ * sizeof(T) + 2 * kGuard));
        CUDA_CHECK(cudaMemset(block_, kPoison, size_ * sizeof(T) + 2 * kGuard));
    }
    DeviceVector(const std::vector<T>& values) : DeviceVector(static_cast<int64_t>(values.size())) { upload(values); }
    DeviceVector(DeviceVector&& other) noexcept
        : block_(std::exchange(other.block_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    ~DeviceVector() { cudaFree(block_); }

    T* data() const { return size_ > 0 ? reinterpret_cast<T*>(block_ + kGuard) : nullptr; }
    size_t size() const { return size_; }
    std::span<T> span() const { return {data(), size_}; }
    // The vector as a matrix of that many rows.
    Matrix<T> matrix(int64_t rows, int64_t cols) const { return {data(), rows, cols}; }
    // A view of columns [first, first + cols) of a matrix whose rows are `stride` long.
    Matrix<T> matrix(int64_t rows, int64_t cols, int64_t stride, int64_t first = 0) const {
        return {data() + first, rows, cols, stride};
    }

    void upload(const std::vector<T>& values) {
        REQUIRE(values.size() == size_);
        CUDA_CHECK(cudaMemcpy(data(), values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
    }

    std::vector<T> download() const {
        CUDA_CHECK(cudaDeviceSynchronize());
        std::vector<unsigned char> bytes(size_ * sizeof(T) + 2 * kGuard);
        CUDA_CHECK(cudaMemcpy(bytes.data(), block_, bytes.size(), cudaMemcpyDeviceToHost));
        for (size_t i = 0; i < kGuard; i++) {
            if (bytes[i] != kPoison) FAIL("written " << kGuard - i << " bytes before the start of a device vector");
            if (bytes[bytes.size() - kGuard + i] != kPoison) FAIL("written " << i + 1 << " bytes past a device vector");
        }
        std::vector<T> values(size_);
        if (size_ > 0) std::memcpy(static_cast<void*>(values.data()), bytes.data() + kGuard, size_ * sizeof(T));
        return values;
    }

  private:
    static constexpr unsigned char kPoison = 0xff;
#ifdef LLMC_EMULATED
    static constexpr size_t kGuard = 0;
#else
    static constexpr size_t kGuard = 256;
#endif
    unsigned char* block_ = nullptr;
    size_t size_ = 0;
};

// ---- schedules ----

// Runs `body` once natively, and in every schedule under the emulator.
template <class Body>
void for_each_schedule(Body body) {
#ifdef LLMC_EMULATED
    for (const auto schedule : {emu::Schedule::forward, emu::Schedule::reversed, emu::Schedule::shuffled}) {
        emu::set_schedule(schedule);
        body();
    }
    emu::set_schedule(emu::Schedule::forward);
#else
    body();
#endif
}

}  // namespace cuda_test
