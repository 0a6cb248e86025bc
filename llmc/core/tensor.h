// Matrix<T>: a view of a row-major matrix that somebody else owns (the arena, a mapped file, a test's vector).
// Every tensor of a training step is one: [n_tokens, channels], [out, in], [rows, rank]. A view of some of the columns
// keeps the stride of the whole, which is how q, k and v live side by side in one buffer.
// Its members are constexpr, which nvcc (--expt-relaxed-constexpr) lets kernels call too.
#pragma once

#include <cstdint>
#include <type_traits>

namespace llmc {

template <class T>
struct Matrix {
    T* data = nullptr;
    int64_t rows = 0;
    int64_t cols = 0;
    int64_t stride = 0;  // elements from one row to the next, >= cols

    constexpr Matrix() = default;
    constexpr Matrix(T* data, int64_t rows, int64_t cols) : data(data), rows(rows), cols(cols), stride(cols) {}
    constexpr Matrix(T* data, int64_t rows, int64_t cols, int64_t stride)
        : data(data), rows(rows), cols(cols), stride(stride) {}

    // A Matrix<T> is usable wherever a Matrix<const T> is asked for.
    template <class U>
    requires std::is_same_v<T, const U>
    constexpr Matrix(const Matrix<U>& m) : Matrix(m.data, m.rows, m.cols, m.stride) {}

    constexpr T* row(int64_t i) const { return data + i * stride; }
    constexpr T& operator()(int64_t i, int64_t j) const { return data[i * stride + j]; }
    constexpr bool empty() const { return rows == 0 || cols == 0; }
    constexpr bool contiguous() const { return stride == cols; }
    constexpr int64_t size() const { return rows * cols; }

    // Rows [begin, begin + count), all columns.
    constexpr Matrix rows_at(int64_t begin, int64_t count) const { return {row(begin), count, cols, stride}; }
    // The first `count` rows: how a buffer planned for the longest micro-batch serves a shorter one.
    constexpr Matrix first_rows(int64_t count) const { return rows_at(0, count); }
    // Columns [begin, begin + count), all rows; the stride stays that of the whole.
    constexpr Matrix columns(int64_t begin, int64_t count) const { return {data + begin, rows, count, stride}; }
};

// For operators whose template parameter is deduced from another argument: makes Matrix<const T> a non-deduced context,
// so that a Matrix<T> converts.
template <class T>
using ConstMatrix = std::type_identity_t<Matrix<const T>>;

}  // namespace llmc
