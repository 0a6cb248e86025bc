#include "llmc/cpu/gemm/int8_gemm.h"

#include <algorithm>

#include "llmc/cpu/gemm/gemm.h"
#include "llmc/cpu/gemm/int8_ways.h"

namespace cpu {

namespace {

const Int8Gemm& fastest_int8_gemm() {
    static const Int8Gemm fastest = int8_gemms().front();
    return fastest;
}

void int8_gemm(const Device& device, Matrix<float> y, Matrix<const int8_t> a, Matrix<const int8_t> b, bool transpose_b,
               const float* row_scale, const float* col_scale, const float* bias, const panels::Joint& joint,
               int64_t rotation, std::span<int32_t> workspace) {
    if (y.empty()) return;
    require(static_cast<int64_t>(workspace.size()) >= int8_gemm_workspace(device),
            "the int8 GEMM needs a workspace of ", int8_gemm_workspace(device), " elements and got ", workspace.size());
    const Int8Gemm& gemm = fastest_int8_gemm();
    const bool at_once =
        device.products == Products::bf16 && joint.z.cols <= gemm.joint_terms && y.rows > panels::kFewRows;
    gemm.multiply(device, y, a, b, transpose_b, row_scale, col_scale, bias, at_once ? joint : panels::Joint{}, rotation,
                  workspace);
    if (!at_once && joint.z.cols > 0) gemm_nt(device, y, joint.z, joint.wz, 1.0f, 1.0f);
}

// Rows of W that are dequantised at a time: a contraction long enough for the GEMM to reach its full rate.
constexpr int64_t kDequantizedRows = 256;

}  // namespace

int64_t int8_gemm_workspace(const Device& device) {
    return device.threads * fastest_int8_gemm().workspace;
}

void int8_gemm_nt(const Device& device, Matrix<float> y, Matrix<const int8_t> xq, const float* row_scale,
                  Matrix<const int8_t> wq, const float* col_scale, const float* bias, Matrix<const float> z,
                  Matrix<const float> wz, std::span<int32_t> workspace) {
    int8_gemm(device, y, xq, wq, true, row_scale, col_scale, bias, {z, wz}, 0, workspace);
}

void int8_gemm_nn(const Device& device, Matrix<float> y, Matrix<const int8_t> gq, const float* row_scale,
                  Matrix<const int8_t> wq, int64_t rotation, std::span<int32_t> workspace) {
    int8_gemm(device, y, gq, wq, false, row_scale, nullptr, nullptr, {}, rotation, workspace);
}

int64_t dequantized_gemm_workspace(const Device& /*device*/, int64_t out_features, int64_t in_features) {
    return std::min(kDequantizedRows, out_features) * in_features;
}

void dequantized_gemm_nn(const Device& device, Matrix<float> y, Matrix<const float> dy, Matrix<const int8_t> wq,
                         const float* col_scale, int64_t rotation, std::span<float> workspace) {
    require(static_cast<int64_t>(workspace.size()) >= dequantized_gemm_workspace(device, wq.rows, wq.cols),
            "the dequantised GEMM needs a workspace of ", dequantized_gemm_workspace(device, wq.rows, wq.cols),
            " elements and got ", workspace.size());
    for (int64_t begin = 0; begin < wq.rows; begin += kDequantizedRows) {
        const Matrix<float> w(workspace.data(), std::min(kDequantizedRows, wq.rows - begin), wq.cols);
#pragma omp parallel for num_threads(device.threads) schedule(static)
        for (int64_t o = 0; o < w.rows; o++) {
            const int8_t* wq_row = wq.row(begin + o);
            const float scale = col_scale[begin + o];
            float* w_row = w.row(o);
#pragma omp simd
            for (int64_t i = 0; i < w.cols; i++) w_row[i] = scale * static_cast<float>(wq_row[i]);
            hadamard_row(w_row, w.cols, rotation);
        }
        gemm_nn(device, y, dy.columns(begin, w.rows), w, 1.0f, begin == 0 ? 0.0f : 1.0f);
    }
}

}  // namespace cpu
