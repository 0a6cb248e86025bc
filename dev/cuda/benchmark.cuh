// What the benchmarks in this folder share: arrays on the GPU, times, and how they are told.
//
// A time is the median of kRuns calls after one that loads the kernel. Before each call L2 is filled with something
// else, so that operands come from memory, as they do in a training step.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "llmc/cuda/gpu.h"
#include "llmc/cuda/row_block.cuh"
#include "llmc/cuda/stopwatch.cuh"
#include "llmc/philox.h"
#include "llmc/tensor.h"

namespace benchmark {

using namespace llmc;

constexpr int kRuns = 11;

struct CudaFree {
    void operator()(void* memory) const { cudaFree(memory); }
};
template <class T>
using DeviceArray = std::unique_ptr<T[], CudaFree>;

// Element i from Philox: uniform in [-1, 1), or in [-127, 127] where T is int8.
template <class T>
__global__ void fill_kernel(Matrix<T> values) {
    const auto [n, c] = cuda::eight_position(values.cols);
    if (n >= values.rows) return;
    for (int64_t k = c; k < c + 8 && k < values.cols; k++) {
        const PhiloxWords words = philox4x32_10(
            {static_cast<uint32_t>(k), static_cast<uint32_t>(n), static_cast<uint32_t>(k >> 32), 0}, {1, 0});
        if constexpr (std::is_integral_v<T>)
            values(n, k) = static_cast<T>(static_cast<int32_t>(words.x0) % 128);
        else
            values(n, k) = cuda::from_float<T>(static_cast<float>(static_cast<int32_t>(words.x0)) * 0x1p-31f);
    }
}

// Not initialised.
template <class T>
DeviceArray<T> array(int64_t size) {
    void* memory = nullptr;
    CUDA_CHECK(cudaMalloc(&memory, static_cast<size_t>(size) * sizeof(T)));
    return DeviceArray<T>(static_cast<T*>(memory));
}

template <class T>
DeviceArray<T> upload(const std::vector<T>& values) {
    DeviceArray<T> out = array<T>(static_cast<int64_t>(values.size()));
    CUDA_CHECK(cudaMemcpy(out.get(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
    return out;
}

template <class T>
std::vector<T> download(const DeviceArray<T>& array, size_t size) {
    std::vector<T> values(size);
    CUDA_CHECK(cudaMemcpy(values.data(), array.get(), size * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
}

// A matrix and the memory it lies in. Random numbers: on zeros, or on any one number, a GPU that is held back by its
// power limit runs faster than on data.
template <class T>
class Tensor {
  public:
    Tensor(int64_t rows, int64_t cols) : memory_(array<T>(rows * cols)), view_(memory_.get(), rows, cols) {
        const cuda::Device<float> device;
        cuda::launch(device, "fill", fill_kernel<T>, cuda::eight_blocks(rows, cols), cuda::kEightThreads, 0, view_);
    }
    Matrix<T> view() const { return view_; }
    T* data() const { return view_.data; }
    int64_t bytes() const { return view_.size() * static_cast<int64_t>(sizeof(T)); }

  private:
    DeviceArray<T> memory_;
    Matrix<T> view_;
};

// Seconds of a call.
class Clock {
  public:
    explicit Clock(int64_t l2_bytes) : l2_(2 * l2_bytes, 1) {}

    template <class Call>
    double seconds(const Call& call) {
        std::vector<float> milliseconds;
        for (int run = 0; run <= kRuns; run++) {
            CUDA_CHECK(cudaMemset(l2_.data(), run, static_cast<size_t>(l2_.bytes())));
            watch_.start();
            call();
            milliseconds.push_back(watch_.stop());
        }
        milliseconds.erase(milliseconds.begin());
        std::ranges::sort(milliseconds);
        return 1e-3 * milliseconds[milliseconds.size() / 2];
    }

  private:
    Tensor<uint8_t> l2_;
    cuda::Stopwatch watch_{nullptr};
};

// Calls measure<T>() for the 16-bit type of this GPU.
template <class Measure>
void in_16_bits(const Measure& measure) {
    if (cuda::has_bf16(0))
        measure.template operator()<cuda::bf16>();
    else
        measure.template operator()<cuda::fp16>();
}

// main() of a benchmark: body(tokens) returns the exit status. The number of tokens may be the only argument, 8192 if
// it is not given; small ones are for trying the benchmark itself. What is thrown becomes a sentence and exit status 1.
template <class Body>
int run(int argc, char** argv, const Body& body) {
    try {
        const int64_t tokens = argc > 1 ? std::atoll(argv[1]) : 8192;
        require(argc <= 2 && tokens > 0, "usage: ", argv[0], " [tokens]");
        return body(tokens);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}

// main() of one that does nothing but measure<T>(tokens).
template <class Measure>
int run_in_16_bits(int argc, char** argv, const Measure& measure) {
    return run(argc, argv, [&](int64_t tokens) {
        in_16_bits([&]<class T>() { measure.template operator()<T>(tokens); });
        return 0;
    });
}

}  // namespace benchmark
