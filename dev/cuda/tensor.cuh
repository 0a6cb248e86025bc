// Matrices that own their memory, on the host and on the GPU. Both convert to the views that operators take.
#pragma once

#include <span>
#include <type_traits>
#include <vector>

#include "llmc/core/tensor.h"
#include "llmc/cuda/gemm/fill_random.cuh"
#include "llmc/cuda/kernel/row_block.cuh"

namespace benchmark {

using namespace llmc;

template <class T>
class HostMatrix {
  public:
    HostMatrix(int64_t rows, int64_t cols, T value = {})
        : rows_(rows), cols_(cols), values_(static_cast<size_t>(rows * cols), value) {}

    int64_t rows() const { return rows_; }
    int64_t cols() const { return cols_; }
    T* data() { return values_.data(); }
    const T* data() const { return values_.data(); }
    T& operator()(int64_t i, int64_t j) { return values_[static_cast<size_t>(i * cols_ + j)]; }
    const T& operator()(int64_t i, int64_t j) const { return values_[static_cast<size_t>(i * cols_ + j)]; }
    operator Matrix<T>() { return {data(), rows_, cols_}; }
    operator Matrix<const T>() const { return {data(), rows_, cols_}; }

  private:
    int64_t rows_, cols_;
    std::vector<T> values_;
};

// Every byte of an unwritten element: NaN in the float formats; in integers a number that no kernel here computes.
template <class T>
constexpr int kPoison = std::is_integral_v<T> ? 0x80 : 0xff;

// Half the distance from 1 to the next number of T: the largest relative error of rounding to it.
template <class T>
constexpr double unit_roundoff() {
    if constexpr (std::is_same_v<T, cuda::bf16>) return 0x1p-8;
    if constexpr (std::is_same_v<T, cuda::fp16>) return 0x1p-11;
    return 0x1p-24;
}

// On the host; exact.
template <class T>
double widened(T x) {
    if constexpr (std::is_integral_v<T>)
        return static_cast<double>(x);
    else
        return static_cast<double>(static_cast<float>(x));
}

// x rounded to T.
template <class T>
double rounded(double x) {
    return widened(static_cast<T>(static_cast<float>(x)));
}

template <class T, class Real>
void round_to(HostMatrix<Real>& matrix) {
    for (int64_t i = 0; i < matrix.rows() * matrix.cols(); i++)
        matrix.data()[i] = static_cast<Real>(rounded<T>(static_cast<double>(matrix.data()[i])));
}

// The grid of a kernel with one thread per item.
inline dim3 blocks(int64_t items, int block) {
    return dim3(static_cast<unsigned>(cuda::ceil_div(items, block)));
}

// A matrix in the GPU's memory.
template <class T>
class Tensor {
  public:
    // Poisoned: for outputs.
    Tensor(int64_t rows, int64_t cols) : view_(nullptr, rows, cols) {
        void* memory = nullptr;
        CUDA_CHECK(cudaMalloc(&memory, byte_size()));
        view_.data = static_cast<T*>(memory);
        poison();
    }
    // Random, for inputs.
    Tensor(int64_t rows, int64_t cols, uint32_t seed, float scale = 1) : Tensor(rows, cols) {
        cuda::fill_random(cuda::Device<float>(), view_, seed, scale);
    }
    // A row.
    explicit Tensor(const std::vector<T>& values) : Tensor(1, static_cast<int64_t>(values.size())) {
        CUDA_CHECK(cudaMemcpy(view_.data, values.data(), byte_size(), cudaMemcpyHostToDevice));
    }
    ~Tensor() { cudaFree(view_.data); }
    Tensor(const Tensor&) = delete;
    Tensor& operator=(const Tensor&) = delete;

    int64_t rows() const { return view_.rows; }
    int64_t cols() const { return view_.cols; }
    T* data() const { return view_.data; }
    Matrix<T> view() const { return view_; }
    operator Matrix<T>() const { return view_; }
    operator Matrix<const T>() const { return view_; }
    std::span<T> span() const { return {view_.data, static_cast<size_t>(view_.size())}; }
    int64_t bytes() const { return static_cast<int64_t>(byte_size()); }

    void poison() const { CUDA_CHECK(cudaMemset(view_.data, kPoison<T>, byte_size())); }
    void copy_from(const Tensor& other) const {
        CUDA_CHECK(cudaMemcpy(view_.data, other.view_.data, byte_size(), cudaMemcpyDeviceToDevice));
    }
    // Waits for the GPU.
    std::vector<T> download() const {
        std::vector<T> values(static_cast<size_t>(view_.size()));
        CUDA_CHECK(cudaMemcpy(static_cast<void*>(values.data()), view_.data, byte_size(), cudaMemcpyDeviceToHost));
        return values;
    }
    // What the reference computes with.
    template <class Real>
    HostMatrix<Real> host() const {
        HostMatrix<Real> wide(view_.rows, view_.cols);
        const std::vector<T> values = download();
        for (size_t i = 0; i < values.size(); i++) wide.data()[i] = static_cast<Real>(widened(values[i]));
        return wide;
    }

  private:
    size_t byte_size() const { return static_cast<size_t>(view_.size()) * sizeof(T); }
    Matrix<T> view_;
};

}  // namespace benchmark
