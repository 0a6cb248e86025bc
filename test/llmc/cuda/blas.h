// A GPU with cuBLASLt, and matrices that go there and back, for the tests of the GEMMs.
#pragma once

#include "llmc/cuda/gemm/cublaslt.cuh"
#include "test/llmc/cpu/operator_testing.h"
#include "test/llmc/cuda/support.h"

namespace cuda_test {

using llmc_test::Buffer;

template <class T>
struct BlasDevice {
    DeviceVector<char> workspace{int64_t{1} << 20};
    cuda::BlasLt blas{workspace.data(), static_cast<int64_t>(workspace.size()), {}};
    cuda::Device<T> device;
    BlasDevice() { device.blas = &blas; }
};

// Every element rounded to T.
template <class T>
Buffer<double> rounded(const Buffer<double>& from) {
    Buffer<double> to = from;
    for (int64_t i = 0; i < to.rows(); i++) {
        for (int64_t j = 0; j < to.cols(); j++) {
            to(i, j) = static_cast<double>(widen(narrow<T>(static_cast<float>(from(i, j)))));
        }
    }
    return to;
}

// A Buffer's copy in device memory, with its padding, `displacement` elements behind an aligned address.
template <class T>
class DeviceMatrix {
  public:
    template <class From>
    explicit DeviceMatrix(const Buffer<From>& from, int64_t padding = 3, int64_t displacement = 0)
        : rows_(from.rows()),
          cols_(from.cols()),
          stride_(cols_ + padding),
          displacement_(displacement),
          memory_(displacement + rows_ * stride_ + 1) {
        std::vector<T> values(memory_.size(), narrow<T>(kSentinel));
        for (int64_t i = 0; i < rows_; i++) {
            for (int64_t j = 0; j < cols_; j++) values[at(i, j)] = narrow<T>(static_cast<float>(from(i, j)));
        }
        memory_.upload(values);
    }

    Matrix<T> view() const { return memory_.matrix(rows_, cols_, stride_, displacement_); }
    std::vector<T> bits() const { return memory_.download(); }

    // By how much an element's error exceeds what rounding to T explains, at most, in `unit`s. Infinite if the padding
    // was written.
    double error(const Buffer<double>& expected, double unit) const {
        const std::vector<float> values = widen(memory_.download());
        double worst = 0;
        for (int64_t i = 0; i < rows_; i++) {
            for (int64_t j = 0; j < stride_; j++) {
                const double value = static_cast<double>(values[at(i, j)]);
                if (j >= cols_ && value != static_cast<double>(kSentinel)) return INFINITY;
                if (j >= cols_) continue;
                const double rounding = std::abs(expected(i, j)) * static_cast<double>(unit_roundoff<T>());
                const double excess = (std::abs(value - expected(i, j)) - rounding) / unit;
                if (!(excess <= worst)) worst = excess;
            }
        }
        return worst;
    }

  private:
    static constexpr float kSentinel = -77;
    size_t at(int64_t i, int64_t j) const { return static_cast<size_t>(displacement_ + i * stride_ + j); }

    int64_t rows_, cols_, stride_, displacement_;
    DeviceVector<T> memory_;
};

}  // namespace cuda_test
