// What the tests of the CUDA operators add to the CPU's: matrices in device memory, and bounds by storage type on the
// difference between the two. If an operator has a sum or an exponential, the CPU runs it in double: the difference is
// then the GPU's own rounding.
#pragma once

#include <cstring>

#include "test/llmc/cpu/operator_testing.h"
#include "test/llmc/cuda/support.h"

namespace cuda_test {

using llmc::Matrix;
using llmc_test::Buffer;
using llmc_test::random_buffer;
using llmc_test::random_vector;

// Every element rounded to T: what an operator on T sees.
template <class T>
Buffer<float> rounded(Buffer<float> values) {
    for (int64_t i = 0; i < values.rows(); i++)
        for (int64_t j = 0; j < values.cols(); j++) values(i, j) = widen(narrow<T>(values(i, j)));
    return values;
}

template <class T>
std::vector<float> rounded(const std::vector<float>& values) {
    return widen(narrow<T>(values));
}

inline Buffer<double> in_double(const Buffer<float>& values) {
    Buffer<double> wide(values.rows(), values.cols());
    for (int64_t i = 0; i < values.rows(); i++)
        for (int64_t j = 0; j < values.cols(); j++) wide(i, j) = double{values(i, j)};
    return wide;
}

inline std::vector<double> in_double(const std::vector<float>& values) {
    return {values.begin(), values.end()};
}

// Elements between the end of a row and the next row are poison and must stay so.
template <class T>
class DeviceMatrix {
  public:
    DeviceMatrix(int64_t rows, int64_t cols, int64_t padding = 3)
        : rows_(rows), cols_(cols), stride_(cols + padding), data_(rows * stride_) {}
    DeviceMatrix(const Buffer<float>& values, int64_t padding = 3)
        : DeviceMatrix(values.rows(), values.cols(), padding) {
        std::vector<T> elements = data_.download();
        for (int64_t i = 0; i < rows_; i++)
            for (int64_t j = 0; j < cols_; j++) elements[i * stride_ + j] = narrow<T>(values(i, j));
        data_.upload(elements);
    }

    Matrix<T> view() const { return {data_.data(), rows_, cols_, stride_}; }
    Matrix<const T> const_view() const { return view(); }

    Buffer<float> download() const {
        const std::vector<T> elements = data_.download();
        const std::vector<T> poison(static_cast<size_t>(stride_ - cols_), poison_element());
        Buffer<float> values(rows_, cols_);
        for (int64_t i = 0; i < rows_; i++) {
            for (int64_t j = 0; j < cols_; j++) values(i, j) = widen(elements[i * stride_ + j]);
            const T* end = elements.data() + i * stride_ + cols_;
            if (!same_bits(std::vector<T>(end, end + (stride_ - cols_)), poison)) FAIL("written past row " << i);
        }
        return values;
    }

  private:
    static T poison_element() {
        T poison;
        std::memset(static_cast<void*>(&poison), 0xff, sizeof poison);
        return poison;
    }
    int64_t rows_, cols_, stride_;
    DeviceVector<T> data_;
};

// The largest |actual - expected| in units of what is allowed, relative |expected| + absolute; NaN counts as infinite.
template <class Real>
double excess(const Buffer<float>& actual, const Buffer<Real>& expected, double relative, double absolute) {
    if (actual.rows() != expected.rows() || actual.cols() != expected.cols()) return INFINITY;
    double largest = 0;
    for (int64_t i = 0; i < actual.rows(); i++) {
        for (int64_t j = 0; j < actual.cols(); j++) {
            const double difference = std::abs(double{actual(i, j)} - double{expected(i, j)});
            const double units = difference / (relative * std::abs(double{expected(i, j)}) + absolute);
            if (difference != 0 && !(units <= largest)) largest = std::isnan(units) ? INFINITY : units;
        }
    }
    return largest;
}

// A matrix's shape and the elements between its rows: with 0 or 8 on a width of whole Eights the operators move 16
// bytes at a time, else element by element.
struct Shape {
    int64_t rows, cols, padding;
};

// Runs `body` in every schedule; what it returns must be the same each time.
template <class Body>
auto same_in_every_schedule(Body body) {
    std::vector<decltype(body())> runs;
    for_each_schedule([&] { runs.push_back(body()); });
    for (const auto& run : runs) REQUIRE(run == runs.front());
    return runs.front();
}

}  // namespace cuda_test
