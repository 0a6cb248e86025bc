// What the operator tests share: filled matrices with a stride, and the central difference that every backward is
// compared with.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <vector>

#include "llmc/core/tensor.h"

namespace llmc_test {

using namespace llmc;

// An owned matrix whose rows are `padding` elements longer than its columns, so that an operator that forgets the
// stride fails. The padding holds a sentinel that `padding_untouched` looks for.
template <class T>
class Buffer {
  public:
    Buffer(int64_t rows, int64_t cols, int64_t padding = 3)
        : rows_(rows), cols_(cols), stride_(cols + padding), data_(static_cast<size_t>(rows * stride_ + 1), kSentinel) {
        for (int64_t i = 0; i < rows; i++) std::fill_n(view().row(i), cols, T{0});
    }

    Matrix<T> view() { return {data_.data(), rows_, cols_, stride_}; }
    Matrix<const T> view() const { return {data_.data(), rows_, cols_, stride_}; }
    T& operator()(int64_t i, int64_t j) { return data_[static_cast<size_t>(i * stride_ + j)]; }
    T operator()(int64_t i, int64_t j) const { return data_[static_cast<size_t>(i * stride_ + j)]; }
    int64_t rows() const { return rows_; }
    int64_t cols() const { return cols_; }

    bool padding_untouched() const {
        for (int64_t i = 0; i < rows_; i++) {
            for (int64_t j = cols_; j < stride_; j++) {
                if ((*this)(i, j) != kSentinel) return false;
            }
        }
        return true;
    }

    void fill(T value) {
        for (int64_t i = 0; i < rows_; i++) std::fill_n(view().row(i), cols_, value);
    }

    bool operator==(const Buffer&) const = default;

  private:
    static constexpr T kSentinel = static_cast<T>(-77);
    int64_t rows_, cols_, stride_;
    std::vector<T> data_;
};

// Normally distributed.
template <class T>
Buffer<T> random_buffer(int64_t rows, int64_t cols, uint32_t seed, double deviation = 1.0) {
    std::mt19937 generator(seed);
    std::normal_distribution<double> normal(0.0, deviation);
    Buffer<T> buffer(rows, cols);
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < cols; j++) buffer(i, j) = static_cast<T>(normal(generator));
    }
    return buffer;
}

// Uniform over -127..127, ends included.
inline Buffer<int8_t> random_int8(int64_t rows, int64_t cols, uint32_t seed) {
    std::mt19937 generator(seed);
    std::uniform_int_distribution<int> uniform(-127, 127);
    Buffer<int8_t> buffer(rows, cols);
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < cols; j++) buffer(i, j) = static_cast<int8_t>(uniform(generator));
    }
    return buffer;
}

template <class T>
std::vector<T> random_vector(size_t count, uint32_t seed, double deviation = 1.0) {
    std::mt19937 generator(seed);
    std::normal_distribution<double> normal(0.0, deviation);
    std::vector<T> values(count);
    for (T& value : values) value = static_cast<T>(normal(generator));
    return values;
}

// max |a - b|; NaN where either holds one.
template <class T>
double largest_difference(const Buffer<T>& a, const Buffer<T>& b) {
    double largest = a.rows() == b.rows() && a.cols() == b.cols() ? 0.0 : std::nan("");
    for (int64_t i = 0; i < a.rows(); i++) {
        for (int64_t j = 0; j < a.cols(); j++) {
            const double difference = std::abs(static_cast<double>(a(i, j)) - static_cast<double>(b(i, j)));
            if (!(difference <= largest)) largest = difference;
        }
    }
    return largest;
}

// sum of a .* b: a scalar loss whose gradient with respect to a is b.
inline double inner_product(const Buffer<double>& a, const Buffer<double>& b) {
    double sum = 0;
    for (int64_t i = 0; i < a.rows(); i++) {
        for (int64_t j = 0; j < a.cols(); j++) sum += a(i, j) * b(i, j);
    }
    return sum;
}

// The largest |gradient - central difference of loss| over every `every`-th element of x, relative to the largest
// gradient. `loss` reads x.
inline double gradient_error(Buffer<double>& x, const Buffer<double>& gradient, const std::function<double()>& loss,
                             int64_t every = 1) {
    // The truncation error is step^2 f''' / 6, the rounding error 1e-16 f / step: both near 1e-10 here.
    const double step = 1e-5;
    double worst = 0, largest = 1e-300;
    for (int64_t element = 0; element < x.rows() * x.cols(); element += every) {
        const int64_t i = element / x.cols(), j = element % x.cols();
        const double at = x(i, j);
        x(i, j) = at + step;
        const double above = loss();
        x(i, j) = at - step;
        const double below = loss();
        x(i, j) = at;
        const double difference = std::abs((above - below) / (2 * step) - gradient(i, j));
        if (!(difference <= worst)) worst = difference;
        largest = std::max(largest, std::abs(gradient(i, j)));
    }
    return worst / largest;
}

// What `gradient_error` may be for a correct backward: its own rounding, with a margin of 10.
constexpr double kGradientTolerance = 1e-8;

}  // namespace llmc_test
