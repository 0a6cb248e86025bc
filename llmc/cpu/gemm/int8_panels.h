// The int8 GEMMs by panels of b, dequantised in registers (int8_gemm.h says what they compute). A Kernel has the
// instructions: int8_vnni.h, int8_avx2.h, int8_neon.h.
//
// A thread packs a panel of 64 columns of b in the order that the instructions want and multiplies it by all rows of a,
// one block of sums at a time, which stays in registers for up to Kernel::kDepth terms. Nothing else is packed, and
// only y leaves the registers. A few rows are multiplied by b as it lies, which is read once.
//
// A Kernel is compiled for its instructions, whatever the rest of the program is compiled for. It has, all static:
//
//   kRows, kDepth              most rows of a block of sums; rows of b in a panel, which is to stay in the L2 cache
//   kPackedBytes               that an element of b takes in a panel
//   is_supported()             whether this processor has the instructions
//   sum_rows(sums, a)          what multiply() needs to know of a's rows, in Output::row_sums
//   pack_nt(packed, b, stride, cols, depth)    a panel of b[n,k]
//   pack_nn(packed, b, stride, cols, depth)    the same of b[k,n]; zero beyond the edges
//   multiply<R>(a, stride, depth, packed, cols, sums, first, out)
//                              R rows of a times a panel. The sums so far are in `sums` [R, kPanel] unless these are
//                              the `first` terms; they go back there, or to `out` unless that is null
//   multiply_few<M, C>(a, b, o, out)           y[0 .. M, o .. o + C] of the M rows of a and the rows o .. of b[n,k]
//   kJointPairs                most pairs of terms of a joint product that multiply() adds in registers, on processors
//                              with AVX512_BF16; 0: none, and no functions to pack them
//   pack_joint_rows(packed, joint, z), pack_joint_panel(packed, joint, wz)
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

#include "llmc/core/integers.h"
#include "llmc/core/program.h"
#include "llmc/cpu/device.h"
#include "llmc/cpu/hadamard.h"

namespace cpu::panels {

constexpr int64_t kPanel = 64;           // columns of b that are packed together: of bytes, a cache line of a row
constexpr int64_t kChunk = 512;          // rows of a that a panel meets
constexpr int64_t kFewRows = 4;          // of a, multiplied without packing anything
constexpr int64_t kColumns = 4;          // of y that few rows make at a time
constexpr int64_t kLongestSum = 131071;  // beyond it 128 * 128 * k would not fit 32 bits

// y += z wz^T, with z [N,K] and wz [O,K] rounded to bf16; nothing if they have no columns.
struct Joint {
    Matrix<const float> z, wz;
};

// A part of it, packed in pairs as in bf16_kernel.h:
//
//   pair p of row m         z[m * stride + p]
//   pair p of column n      wz[(n/32 * stride + p) * 32 + n%32]
struct PackedJoint {
    const uint32_t *z = nullptr, *wz = nullptr;
    int64_t pairs = 0;

    int64_t stride() const { return round_up(pairs, 16); }
};

// Where sums end: y = (row_scale col_scale sums + bias + joint) H, of `cols` columns. Null: 1 and 0.
struct Output {
    float* y;
    int64_t stride, cols;
    const float *row_scale, *col_scale, *bias;
    const int32_t* row_sums;
    PackedJoint joint;
    int64_t rotation = 0;  // side of H's blocks, which a panel holds whole; 0: no rotation

    Output rows_from(int64_t row) const {
        Output rows = *this;
        rows.y += row * stride;
        rows.row_scale += row;
        rows.row_sums += row;
        rows.joint.z += row * joint.stride();
        return rows;
    }
    Output panel(int64_t col) const {
        Output columns = *this;
        columns.y += col;
        columns.cols = std::min(kPanel, cols - col);
        if (col_scale != nullptr) columns.col_scale += col;
        if (bias != nullptr) columns.bias += col;
        return columns;
    }
    // After the first `rows` have been written: they are still in the L1 cache.
    void rotate(int64_t rows) const {
        for (int64_t m = 0; m < rows; m++) hadamard_row(y + m * stride, cols, rotation);
    }
    // For a kernel that has a single sum.
    void set(int64_t row, int64_t col, int32_t sum) const {
        const float scale = col_scale ? row_scale[row] * col_scale[col] : row_scale[row];
        const auto value = static_cast<float>(sum);
        y[row * stride + col] = bias ? std::fma(scale, value, bias[col]) : scale * value;  // as the vector code does
    }
};

// Integers in a thread's workspace: the panel, the sums of a chunk if there are more than kDepth terms, and a packed
// joint product.
template <class Kernel>
constexpr int64_t kWorkspace = Kernel::kDepth* kPanel* Kernel::kPackedBytes / 4 + kChunk* kPanel +
                               Kernel::kJointPairs*(kChunk + kPanel);

// All rows of `a` times a panel, R rows at a time; smaller blocks take what is left over.
template <class Kernel, int R = Kernel::kRows>
void multiply_rows(Matrix<const int8_t> a, const uint8_t* packed, int32_t* sums, bool first, bool last,
                   const Output& out, int64_t row = 0) {
    for (; row + R <= a.rows; row += R) {
        const Output here = last ? out.rows_from(row) : out;
        Kernel::template multiply<R>(a.row(row), a.stride, a.cols, packed, out.cols, sums + row * kPanel, first,
                                     last ? &here : nullptr);
        if (last && out.rotation > 0) here.rotate(R);
    }
    constexpr int kSmaller = R == 12 ? 8 : R / 2;
    if constexpr (kSmaller > 0) multiply_rows<Kernel, kSmaller>(a, packed, sums, first, last, out, row);
}

// The columns of y that `out` points to, from `col` on.
template <class Kernel>
void multiply_panel(Matrix<const int8_t> a, Matrix<const int8_t> b, bool transpose_b, int64_t col, const Output& out,
                    int32_t* workspace) {
    auto* packed = reinterpret_cast<uint8_t*>(workspace);
    int32_t* sums = workspace + Kernel::kDepth * kPanel * Kernel::kPackedBytes / 4;
    const int64_t blocks = std::max<int64_t>(1, ceil_div(a.cols, Kernel::kDepth));
    const int64_t depth = round_up(ceil_div(a.cols, blocks), 64);
    int64_t k = 0;
    do {  // once even without terms: y is the bias then
        const Matrix<const int8_t> part = a.columns(k, std::min(depth, a.cols - k));
        if (transpose_b)
            Kernel::pack_nt(packed, b.row(col) + k, b.stride, out.cols, part.cols);
        else
            Kernel::pack_nn(packed, b.row(k) + col, b.stride, out.cols, part.cols);
        multiply_rows<Kernel>(part, packed, sums, k == 0, k + depth >= a.cols, out);
        k += depth;
    } while (k < a.cols);
}

// Up to kFewRows rows of `a` times rows o .. o + C of b.
template <class Kernel, int C>
void multiply_few(Matrix<const int8_t> a, Matrix<const int8_t> b, int64_t o, const Output& out) {
    static_assert(kFewRows == 4);
    if (a.rows == 1) return Kernel::template multiply_few<1, C>(a, b, o, out);
    if (a.rows == 2) return Kernel::template multiply_few<2, C>(a, b, o, out);
    if (a.rows == 3) return Kernel::template multiply_few<3, C>(a, b, o, out);
    Kernel::template multiply_few<4, C>(a, b, o, out);
}

// y = (dequantised a op(b)) H + joint, of which the Kernel adds up to 2 kJointPairs terms. The workspace has
// kWorkspace<Kernel> integers for each of the device's threads.
template <class Kernel>
void gemm(const Device& device, Matrix<float> y, Matrix<const int8_t> a, Matrix<const int8_t> b, bool transpose_b,
          const float* row_scale, const float* col_scale, const float* bias, const Joint& joint, int64_t rotation,
          std::span<int32_t> workspace) {
    require(a.cols <= kLongestSum, "an int8 product of ", a.cols, " terms, more than ", kLongestSum,
            ", may overflow; where it is a gradient, ", llmc::program().use_float_gradients);
    require(joint.z.cols <= 2 * Kernel::kJointPairs, "a joint product of ", joint.z.cols, " terms, more than ",
            2 * Kernel::kJointPairs, ", is not added in registers");
    require(rotation == 0 || (!transpose_b && joint.z.cols == 0), "an int8 GEMM rotates gradients alone");
    // Enough panels to keep every thread busy.
    const int64_t panels = ceil_div(y.cols, kPanel);
    int64_t chunk = kChunk;
    while (chunk > 2 * Kernel::kRows && panels * ceil_div(y.rows, chunk) < 4 * device.threads) chunk /= 2;
#pragma omp parallel num_threads(device.threads)
    {
        int32_t row_sums[kChunk];
        int32_t* own = workspace.data() + omp_get_thread_num() * kWorkspace<Kernel>;
        for (int64_t row = 0; row < y.rows; row += chunk) {
            const Matrix<const int8_t> rows = a.rows_at(row, std::min(chunk, y.rows - row));
            Kernel::sum_rows(row_sums, rows);
            Output out{y.row(row), y.stride, y.cols, row_scale + row, col_scale, bias, row_sums, {}, rotation};
            if (transpose_b && rows.rows <= kFewRows && joint.z.cols == 0) {
#pragma omp for schedule(static) nowait
                for (int64_t o = 0; o < y.cols / kColumns; o++)
                    multiply_few<Kernel, kColumns>(rows, b, o * kColumns, out);
#pragma omp for schedule(static) nowait
                for (int64_t o = y.cols / kColumns * kColumns; o < y.cols; o++)
                    multiply_few<Kernel, 1>(rows, b, o, out);
            } else {
                uint32_t* z = reinterpret_cast<uint32_t*>(own + kWorkspace<Kernel>) - Kernel::kJointPairs * kChunk;
                uint32_t* wz = z - Kernel::kJointPairs * kPanel;
                out.joint = {z, wz, (joint.z.cols + 1) / 2};
                if constexpr (Kernel::kJointPairs > 0) {
                    if (joint.z.cols > 0) Kernel::pack_joint_rows(z, out.joint, joint.z.rows_at(row, rows.rows));
                }
#pragma omp for schedule(dynamic) nowait
                for (int64_t col = 0; col < y.cols; col += kPanel) {
                    const Output panel = out.panel(col);
                    if constexpr (Kernel::kJointPairs > 0) {
                        if (joint.z.cols > 0)
                            Kernel::pack_joint_panel(wz, out.joint, joint.wz.rows_at(col, panel.cols));
                    }
                    multiply_panel<Kernel>(rows, b, transpose_b, col, panel, own);
                }
            }
        }
    }
}

}  // namespace cpu::panels
