// Products of int8 matrices, dequantised on the way out; the integer sums are exact.
//
//   int8_gemm_nt         y[n,o] = row_scale[n] col_scale[o] sum_i xq[n,i] wq[o,i] + bias[o]
//   int8_gemm_nt_z       the same + sum_k z[n,k] wz[o,k]                          adapters and outlier channels
//   int8_gemm_nn         y[n,i] = row_scale[n] sum_o gq[n,o] wq[o,i]
//   dequantized_gemm_nn  y[n,i] = sum_o dy[n,o] col_scale[o] wq[o,i]              gradients as they are
//   dequantize           y[n,o] = row_scale[n] col_scale[o] sums[n,o] + bias[o]   the end of the first alone
//
//   kernel 1   the definition: three loops, one thread
//   kernel 2   llmc/cpu/gemm/int8_product.h's own product, which widens to int16, on all threads: for processors on
//              which oneDNN saturates
//   kernel 3   int8_gemm_nt with AVX-512 VNNI: 4 x 4 results at a time, 64 products and their sums in an instruction
//   kernel 4   oneDNN, a tile a thread: for processors with AMX, or without a kernel in llmc/cpu/gemm/int8_panels.h
//   kernel 5   panels of w that are packed once, and sums that are dequantised in registers (int8_panels.h), in 16 bits
//              with AVX2
//   the last   llmc/cpu/gemm/int8_gemm.h, which takes the fastest on this processor: with AVX-512 VNNI panels in 8 bits
//
// int8_gemm_nt_z has the definition and llmc/cpu alone; only its int8 operations are counted.
//
// VNNI multiplies unsigned by signed bytes. Kernel 3 therefore adds 128 to x, by flipping the sign bit, and subtracts
// 128 sum_i wq[o,i] afterwards.
//
//   make -C dev/cpu && build/dev/cpu/int8_gemm [version] [--shape ...]
#include "llmc/cpu/gemm/int8_gemm.h"

#include <numeric>

#include "dev/cpu/common.h"
#include "llmc/cpu/gemm/int8_ways.h"

#ifdef __AVX512VNNI__
#include <immintrin.h>
#endif

namespace {

using namespace llmc;
using benchmark::Device, benchmark::Tensor;

// ---- int8_gemm_nt --------------------------------------------------------------------------------------------------

void int8_gemm_nt_kernel1(const Device&, Matrix<float> y, Matrix<const int8_t> xq, const float* row_scale,
                          Matrix<const int8_t> wq, const float* col_scale, const float* bias, std::span<int32_t>) {
    for (int64_t n = 0; n < y.rows; n++) {
        for (int64_t o = 0; o < y.cols; o++) {
            int32_t sum = 0;
            for (int64_t i = 0; i < xq.cols; i++) sum += xq(n, i) * wq(o, i);
            y(n, o) = static_cast<float>(static_cast<double>(row_scale[n]) * col_scale[o] * sum + bias[o]);
        }
    }
}

// Strips of y by widening_int8_product; null: 1 and 0.
void widening_gemm(const Device& device, Matrix<float> y, Matrix<const int8_t> a, Matrix<const int8_t> b,
                   bool transpose_b, const float* row_scale, const float* col_scale, const float* bias) {
    constexpr int64_t kRows = 128, kCols = 32;
#pragma omp parallel for collapse(2) num_threads(device.threads) schedule(dynamic)
    for (int64_t col = 0; col < y.cols; col += kCols) {
        for (int64_t row = 0; row < y.rows; row += kRows) {
            int32_t tile[kRows * kCols];
            const Matrix<int32_t> sums(tile, std::min(kRows, y.rows - row), std::min(kCols, y.cols - col));
            cpu::widening_int8_product(sums, a.rows_at(row, sums.rows),
                                       transpose_b ? b.rows_at(col, sums.cols) : b.columns(col, sums.cols),
                                       transpose_b);
            for (int64_t n = 0; n < sums.rows; n++)
                cpu::dequantize_row(y.row(row + n) + col, sums.row(n), row_scale[row + n],
                                    col_scale ? col_scale + col : nullptr, bias ? bias + col : nullptr, sums.cols);
        }
    }
}

void int8_gemm_nt_kernel2(const Device& device, Matrix<float> y, Matrix<const int8_t> xq, const float* row_scale,
                          Matrix<const int8_t> wq, const float* col_scale, const float* bias, std::span<int32_t>) {
    widening_gemm(device, y, xq, wq, true, row_scale, col_scale, bias);
}

#ifdef __AVX512VNNI__
constexpr int64_t kSide = 4;  // rows and columns of a block

// sums[m][n] = x[m] . w[n], rows past the last repeated.
void vnni_block(int32_t (&sums)[kSide][kSide], const int8_t* const (&x)[kSide], const int8_t* const (&w)[kSide],
                const int32_t (&w_sums)[kSide], int64_t depth) {
    constexpr int64_t kBytes = 64;
    const __m512i sign_bits = _mm512_set1_epi8(-128);
    __m512i acc[kSide][kSide];
    for (auto& row : acc)
        for (__m512i& sum : row) sum = _mm512_setzero_si512();
    for (int64_t k = 0; k < depth; k += kBytes) {
        const __mmask64 in = depth - k < kBytes ? (__mmask64{1} << (depth - k)) - 1 : ~__mmask64{0};
        __m512i w_bytes[kSide];
        for (int64_t n = 0; n < kSide; n++) w_bytes[n] = _mm512_maskz_loadu_epi8(in, w[n] + k);
        for (int64_t m = 0; m < kSide; m++) {
            const __m512i x_bytes = _mm512_xor_si512(_mm512_maskz_loadu_epi8(in, x[m] + k), sign_bits);
            for (int64_t n = 0; n < kSide; n++) acc[m][n] = _mm512_dpbusd_epi32(acc[m][n], x_bytes, w_bytes[n]);
        }
    }
    for (int64_t m = 0; m < kSide; m++) {
        for (int64_t n = 0; n < kSide; n++) {
            alignas(64) int32_t lanes[16];
            _mm512_store_si512(lanes, acc[m][n]);
            sums[m][n] = std::accumulate(lanes, lanes + 16, -128 * w_sums[n]);
        }
    }
}

void int8_gemm_nt_kernel3(const Device& device, Matrix<float> y, Matrix<const int8_t> xq, const float* row_scale,
                          Matrix<const int8_t> wq, const float* col_scale, const float* bias, std::span<int32_t>) {
    constexpr int64_t kCols = 64;  // of y, for a thread: their rows of wq stay in the L2 cache while x passes
#pragma omp parallel for num_threads(device.threads) schedule(dynamic)
    for (int64_t strip = 0; strip < y.cols; strip += kCols) {
        const int64_t strip_end = std::min(strip + kCols, y.cols);
        int32_t w_sums[kCols] = {};
        for (int64_t o = strip; o < strip_end; o++)
            for (int64_t i = 0; i < wq.cols; i++) w_sums[o - strip] += wq(o, i);
        for (int64_t row = 0; row < y.rows; row += kSide) {
            const int8_t* x[kSide];
            for (int64_t m = 0; m < kSide; m++) x[m] = xq.row(std::min(row + m, y.rows - 1));
            for (int64_t col = strip; col < strip_end; col += kSide) {
                const int8_t* w[kSide];
                int32_t sums_of_w[kSide], sums[kSide][kSide];
                for (int64_t n = 0; n < kSide; n++) {
                    const int64_t o = std::min(col + n, strip_end - 1);
                    w[n] = wq.row(o);
                    sums_of_w[n] = w_sums[o - strip];
                }
                vnni_block(sums, x, w, sums_of_w, xq.cols);
                const int64_t cols = std::min(kSide, strip_end - col);
                for (int64_t m = 0; m < std::min(kSide, y.rows - row); m++)
                    cpu::dequantize_row(y.row(row + m) + col, sums[m], row_scale[row + m], col_scale + col, bias + col,
                                        cols);
            }
        }
    }
}
#endif

void int8_gemm_nt_kernel4(const Device& device, Matrix<float> y, Matrix<const int8_t> xq, const float* row_scale,
                          Matrix<const int8_t> wq, const float* col_scale, const float* bias,
                          std::span<int32_t> workspace) {
    cpu::int8_gemm_by_tiles(device, y, xq, wq, true, row_scale, col_scale, bias, {}, 0, workspace);
}

#ifdef __x86_64__
void int8_gemm_nt_kernel5(const Device& device, Matrix<float> y, Matrix<const int8_t> xq, const float* row_scale,
                          Matrix<const int8_t> wq, const float* col_scale, const float* bias,
                          std::span<int32_t> workspace) {
    cpu::panels::gemm<cpu::Avx2>(device, y, xq, wq, true, row_scale, col_scale, bias, {}, 0, workspace);
}
#endif

// Without adapters and outlier channels, which are a GEMM of their own here.
void int8_gemm_nt_kernel6(const Device& device, Matrix<float> y, Matrix<const int8_t> xq, const float* row_scale,
                          Matrix<const int8_t> wq, const float* col_scale, const float* bias,
                          std::span<int32_t> workspace) {
    cpu::int8_gemm_nt(device, y, xq, row_scale, wq, col_scale, bias, {}, {}, workspace);
}

// For every version.
int64_t int8_workspace(const Device& device) {
    int64_t most = cpu::Int8Gemm{}.workspace;
#ifdef __x86_64__
    most = std::max({most, cpu::panels::kWorkspace<cpu::Avx2>, cpu::panels::kWorkspace<cpu::Vnni>});
#endif
    return device.threads * most;
}

struct Operands {
    Tensor<float> y, row_scale, col_scale, bias;
    Tensor<int8_t> a, w;
    Tensor<int32_t> workspace;
    double operations;

    // y[rows,cols] = a[rows,depth] times w, which is wq[out_features,in_features] either way.
    Operands(int64_t rows, int64_t cols, int64_t depth, int64_t out_features)
        : y(benchmark::unwritten<float>(rows, cols)),
          row_scale(benchmark::random<float>(1, rows, 1)),
          col_scale(benchmark::random<float>(1, out_features, 2)),
          bias(benchmark::random<float>(1, out_features, 3)),
          a(benchmark::random<int8_t>(rows, depth, 4)),
          w(out_features == cols ? benchmark::random<int8_t>(cols, depth, 5)
                                 : benchmark::random<int8_t>(depth, cols, 5)),
          workspace(1, int8_workspace(Device{})),
          operations(2.0 * static_cast<double>(rows) * static_cast<double>(cols) * static_cast<double>(depth)) {}

    // For the requested number of threads.
    std::span<int32_t> workspace_of(const Device& device) {
        if (workspace.cols < int8_workspace(device)) workspace = Tensor<int32_t>(1, int8_workspace(device));
        return workspace.span();
    }
    // The integers are exact; three factors are rounded.
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("y", y, 5e-7)}; }
};

struct Forward : Operands {
    static constexpr const char* name = "int8_gemm_nt";
    using Kernel = decltype(&int8_gemm_nt_kernel6);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"three loops, one thread", int8_gemm_nt_kernel1},
                {"widened to int16, vectors, threads", int8_gemm_nt_kernel2},
#ifdef __AVX512VNNI__
                {"AVX-512 VNNI, blocks of 4 x 4, threads", int8_gemm_nt_kernel3},
#endif
                {"oneDNN, a tile a thread", int8_gemm_nt_kernel4},
#ifdef __x86_64__
                {"AVX2, panels, threads", int8_gemm_nt_kernel5},
#endif
                {"llmc/cpu/gemm/int8_gemm.h: the fastest here", int8_gemm_nt_kernel6}};
    }

    explicit Forward(const benchmark::Shape& shape) : Operands(shape[0], shape[2], shape[1], shape[2]) {}
    void call(Kernel kernel, const Device& device) {
        kernel(device, y, a, row_scale.data, w, col_scale.data, bias.data, workspace_of(device));
    }
    benchmark::Work work() const {
        return {benchmark::Unit::int8_operations, operations};
    }
};

// ---- int8_gemm_nt_z ------------------------------------------------------------------------------------------------

void int8_gemm_nt_z_kernel1(const Device& device, Matrix<float> y, Matrix<const int8_t> xq, const float* row_scale,
                            Matrix<const int8_t> wq, const float* col_scale, const float* bias, Matrix<const float> z,
                            Matrix<const float> wz, std::span<int32_t> workspace) {
    int8_gemm_nt_kernel1(device, y, xq, row_scale, wq, col_scale, bias, workspace);
    for (int64_t n = 0; n < y.rows; n++) {
        for (int64_t o = 0; o < y.cols; o++) {
            double sum = y(n, o);
            for (int64_t k = 0; k < z.cols; k++) sum += static_cast<double>(z(n, k)) * wz(o, k);
            y(n, o) = static_cast<float>(sum);
        }
    }
}

struct ForwardWithZ : Operands {
    static constexpr const char* name = "int8_gemm_nt_z";
    using Kernel = decltype(&cpu::int8_gemm_nt);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"loops, one thread", int8_gemm_nt_z_kernel1},
                {"llmc/cpu/gemm/int8_gemm.h: the fastest here, then fp32", cpu::int8_gemm_nt}};
    }

    Tensor<float> z, wz;

    // An adapter of rank 16 and 2% of the channels.
    explicit ForwardWithZ(const benchmark::Shape& shape)
        : Operands(shape[0], shape[2], shape[1], shape[2]),
          z(benchmark::random<float>(shape[0], 16 + shape[1] / 50, 6)),
          wz(benchmark::random<float>(shape[2], 16 + shape[1] / 50, 7)) {}
    void call(Kernel kernel, const Device& device) {
        kernel(device, y, a, row_scale.data, w, col_scale.data, bias.data, z, wz, workspace_of(device));
    }
    benchmark::Work work() const { return {benchmark::Unit::int8_operations, operations}; }
};

// ---- int8_gemm_nn --------------------------------------------------------------------------------------------------

void int8_gemm_nn_kernel1(const Device&, Matrix<float> y, Matrix<const int8_t> gq, const float* row_scale,
                          Matrix<const int8_t> wq, int64_t, std::span<int32_t>) {
    std::vector<int32_t> sums(static_cast<size_t>(y.cols));
    for (int64_t n = 0; n < y.rows; n++) {
        std::ranges::fill(sums, 0);
        for (int64_t o = 0; o < gq.cols; o++)
            for (int64_t i = 0; i < y.cols; i++) sums[i] += gq(n, o) * wq(o, i);
        for (int64_t i = 0; i < y.cols; i++) y(n, i) = static_cast<float>(static_cast<double>(row_scale[n]) * sums[i]);
    }
}

void int8_gemm_nn_kernel2(const Device& device, Matrix<float> y, Matrix<const int8_t> gq, const float* row_scale,
                          Matrix<const int8_t> wq, int64_t, std::span<int32_t>) {
    widening_gemm(device, y, gq, wq, false, row_scale, nullptr, nullptr);
}

void int8_gemm_nn_kernel3(const Device& device, Matrix<float> y, Matrix<const int8_t> gq, const float* row_scale,
                          Matrix<const int8_t> wq, int64_t rotation, std::span<int32_t> workspace) {
    cpu::int8_gemm_by_tiles(device, y, gq, wq, false, row_scale, nullptr, nullptr, {}, rotation, workspace);
}

#ifdef __x86_64__
void int8_gemm_nn_kernel4(const Device& device, Matrix<float> y, Matrix<const int8_t> gq, const float* row_scale,
                          Matrix<const int8_t> wq, int64_t rotation, std::span<int32_t> workspace) {
    cpu::panels::gemm<cpu::Avx2>(device, y, gq, wq, false, row_scale, nullptr, nullptr, {}, rotation, workspace);
}
#endif

struct Backward : Operands {
    static constexpr const char* name = "int8_gemm_nn";
    using Kernel = decltype(&cpu::int8_gemm_nn);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"three loops, one thread", int8_gemm_nn_kernel1},
                {"widened to int16, vectors, threads", int8_gemm_nn_kernel2},
                {"oneDNN, a tile a thread", int8_gemm_nn_kernel3},
#ifdef __x86_64__
                {"AVX2, panels, threads", int8_gemm_nn_kernel4},
#endif
                {"llmc/cpu/gemm/int8_gemm.h: the fastest here", cpu::int8_gemm_nn}};
    }

    explicit Backward(const benchmark::Shape& shape) : Operands(shape[0], shape[1], shape[2], shape[2]) {}
    void call(Kernel kernel, const Device& device) {
        kernel(device, y, a, row_scale.data, w, 0, workspace_of(device));
    }
    benchmark::Work work() const {
        return {benchmark::Unit::int8_operations, operations};
    }
};

// ---- dequantized_gemm_nn -------------------------------------------------------------------------------------------

void dequantized_gemm_nn_kernel1(const Device&, Matrix<float> y, Matrix<const float> dy, Matrix<const int8_t> wq,
                                 const float* col_scale, int64_t, std::span<float>) {
    std::vector<double> sums(static_cast<size_t>(y.cols));
    for (int64_t n = 0; n < y.rows; n++) {
        std::ranges::fill(sums, 0.0);
        for (int64_t o = 0; o < wq.rows; o++)
            for (int64_t i = 0; i < y.cols; i++) sums[i] += static_cast<double>(dy(n, o)) * col_scale[o] * wq(o, i);
        std::ranges::copy(sums, y.row(n));
    }
}

struct DequantizedBackward : Operands {
    static constexpr const char* name = "dequantized_gemm_nn";
    using Kernel = decltype(&cpu::dequantized_gemm_nn);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"three loops, one thread", dequantized_gemm_nn_kernel1},
                {"llmc/cpu/gemm/int8_gemm.h: 256 rows dequantised, oneDNN", cpu::dequantized_gemm_nn}};
    }

    Tensor<float> dy, dequantized;

    explicit DequantizedBackward(const benchmark::Shape& shape)
        : Operands(shape[0], shape[1], shape[2], shape[2]),
          dy(benchmark::random<float>(shape[0], shape[2], 6)),
          dequantized(1, cpu::dequantized_gemm_workspace(Device{}, shape[2], shape[1])) {}
    void call(Kernel kernel, const Device& device) { kernel(device, y, dy, w, col_scale.data, 0, dequantized.span()); }
    // Some hundreds of additions in float.
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("y", y, 2e-6)}; }
    benchmark::Work work() const { return {benchmark::Unit::float_operations, operations}; }
};

// ---- dequantize ----------------------------------------------------------------------------------------------------

void dequantize_kernel1(const Device&, Matrix<float> y, Matrix<const int32_t> sums, const float* row_scale,
                        const float* col_scale, const float* bias) {
    for (int64_t n = 0; n < y.rows; n++)
        for (int64_t o = 0; o < y.cols; o++)
            y(n, o) = static_cast<float>(static_cast<double>(row_scale[n]) * col_scale[o] * sums(n, o) + bias[o]);
}

void dequantize_kernel2(const Device& device, Matrix<float> y, Matrix<const int32_t> sums, const float* row_scale,
                        const float* col_scale, const float* bias) {
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t n = 0; n < y.rows; n++)
        cpu::dequantize_row(y.row(n), sums.row(n), row_scale[n], col_scale, bias, y.cols);
}

struct Dequantize {
    static constexpr const char* name = "dequantize";
    using Kernel = decltype(&dequantize_kernel1);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", dequantize_kernel1},
                {"llmc/cpu/gemm/int8_gemm.h: vectors, by threads", dequantize_kernel2}};
    }

    Tensor<float> y, row_scale, col_scale, bias;
    Tensor<int32_t> sums;

    explicit Dequantize(const benchmark::Shape& shape)
        : y(benchmark::unwritten<float>(shape[0], shape[2])),
          row_scale(benchmark::random<float>(1, shape[0], 1)),
          col_scale(benchmark::random<float>(1, shape[2], 2)),
          bias(benchmark::random<float>(1, shape[2], 3)),
          sums(benchmark::random<int32_t>(shape[0], shape[2], 4)) {}
    void call(Kernel kernel, const Device& device) {
        kernel(device, y, sums, row_scale.data, col_scale.data, bias.data);
    }
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("y", y, 5e-7)}; }
    benchmark::Work work() const { return {benchmark::Unit::bytes, y.bytes() + sums.bytes()}; }
};

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run<Forward, ForwardWithZ, Backward, DequantizedBackward, Dequantize>(
        argc, argv,
        {.operators = "int8_gemm_nt, int8_gemm_nt_z, int8_gemm_nn, dequantized_gemm_nn, dequantize",
         .dimensions = "tokens x in_features x out_features",
         .odd = {{1, 1, 2}, {2, 7, 3}, {5, 33, 65}, {17, 576, 70}, {131, 101, 130}},
         .timed = {{512, 2048, 2560}}});
}
