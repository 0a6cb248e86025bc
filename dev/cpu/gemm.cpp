// The products of floats of a layer with LoRA adapters: Y = alpha (product) + beta Y.
//
//   gemm_nt   y[N,O] = x[N,I] w[O,I]^T           a frozen layer at full precision, or the head
//             z[N,R] = x[N,I] a[R,I]^T           skinny: the adapters' inner products
//             y[N,O] += z[N,R] wz[O,R]^T         skinny: adapters and outlier channels added to y
//   gemm_nn   dx[N,I] += dz[N,R] a[R,I]          skinny: the adapters' part of the input's gradient
//   gemm_tn   da[R,I] += dz[N,R]^T x[N,I]        skinny: an adapter's gradient
//
//   kernel 1   the definition: three loops, one thread, sums in double
//   kernel 2   all threads; a block of 4 x 64 results at a time, the same 64 columns of the second operand for 4 rows
//   kernel 3   llmc/cpu/gemm/gemm.h: oneDNN
//   kernel 4   operands rounded to bf16, pairs of them packed in panels; vectors of floats, any processor
//   kernel 5   llmc/cpu/gemm/gemm.h with products in bf16: the same with AVX512_BF16, at twice the rate of floats,
//              which is the ceiling here
//
// Operands are bf16 numbers, so that all versions multiply the same.
//
//   make -C dev/cpu && build/dev/cpu/gemm [version] [--shape ...]
#include "llmc/cpu/gemm/gemm.h"

#include "dev/cpu/common.h"
#include "llmc/core/dtype.h"
#include "llmc/cpu/gemm/bf16_tiles.h"

namespace {

using namespace llmc;
using benchmark::Device, benchmark::Tensor;

// element(m, k) and element(k, n) of the operands, in either layout.
struct Operand {
    const float* data;
    int64_t outer, inner;  // strides

    float operator()(int64_t i, int64_t j) const { return data[i * outer + j * inner]; }
};

Operand straight(const Matrix<const float>& m) {
    return {m.data, m.stride, 1};
}
Operand transposed(const Matrix<const float>& m) {
    return {m.data, 1, m.stride};
}

void product_kernel1(Matrix<float> y, const Operand& a, const Operand& b, int64_t depth, float alpha, float beta) {
    for (int64_t m = 0; m < y.rows; m++) {
        for (int64_t n = 0; n < y.cols; n++) {
            double sum = 0;
            for (int64_t k = 0; k < depth; k++) sum += static_cast<double>(a(m, k)) * b(k, n);
            y(m, n) = static_cast<float>(alpha * sum + (beta == 0 ? 0.0 : static_cast<double>(beta) * y(m, n)));
        }
    }
}

void product_kernel2(const Device& device, Matrix<float> y, const Operand& a, const Operand& b, int64_t depth,
                     float alpha, float beta) {
    constexpr int64_t kRows = 4, kCols = 64;
#pragma omp parallel num_threads(device.threads)
    {
        std::vector<float> panel(static_cast<size_t>(depth * kCols));  // of b, columns past the last zero
#pragma omp for schedule(dynamic)
        for (int64_t first = 0; first < y.cols; first += kCols) {
            const int64_t cols = std::min(kCols, y.cols - first);
            std::ranges::fill(panel, 0.0f);
            for (int64_t k = 0; k < depth; k++)
                for (int64_t n = 0; n < cols; n++) panel[k * kCols + n] = b(k, first + n);
            for (int64_t row = 0; row < y.rows; row += kRows) {
                const int64_t rows = std::min(kRows, y.rows - row);
                alignas(64) float sums[kRows][kCols] = {};
                for (int64_t k = 0; k < depth; k++) {
                    for (int64_t m = 0; m < kRows; m++) {
                        const float factor = a(row + std::min(m, rows - 1), k);
#pragma omp simd
                        for (int64_t n = 0; n < kCols; n++) sums[m][n] += factor * panel[k * kCols + n];
                    }
                }
                for (int64_t m = 0; m < rows; m++) {
                    for (int64_t n = 0; n < cols; n++) {
                        float& value = y(row + m, first + n);
                        value = alpha * sums[m][n] + (beta == 0 ? 0.0f : beta * value);
                    }
                }
            }
        }
    }
}

// The layouts of llmc/cpu/gemm/gemm.h.
enum class Layout { nt, nn, tn };

template <Layout kLayout>
void gemm_kernel1(const Device&, Matrix<float> y, Matrix<const float> a, Matrix<const float> b, float alpha,
                  float beta) {
    product_kernel1(y, kLayout == Layout::tn ? transposed(a) : straight(a),
                    kLayout == Layout::nt ? transposed(b) : straight(b), kLayout == Layout::tn ? a.rows : a.cols, alpha,
                    beta);
}

template <Layout kLayout>
void gemm_kernel2(const Device& device, Matrix<float> y, Matrix<const float> a, Matrix<const float> b, float alpha,
                  float beta) {
    product_kernel2(device, y, kLayout == Layout::tn ? transposed(a) : straight(a),
                    kLayout == Layout::nt ? transposed(b) : straight(b), kLayout == Layout::tn ? a.rows : a.cols, alpha,
                    beta);
}

template <Layout kLayout>
void gemm_kernel3(const Device& device, Matrix<float> y, Matrix<const float> a, Matrix<const float> b, float alpha,
                  float beta) {
    if constexpr (kLayout == Layout::nt) cpu::gemm_nt(device, y, a, b, alpha, beta);
    if constexpr (kLayout == Layout::nn) cpu::gemm_nn(device, y, a, b, alpha, beta);
    if constexpr (kLayout == Layout::tn) cpu::gemm_tn(device, y, a, b, alpha, beta);
}

template <Layout kLayout>
void gemm_kernel4(const Device& device, Matrix<float> y, Matrix<const float> a, Matrix<const float> b, float alpha,
                  float beta) {
    using cpu::bf16::Operand;
    cpu::bf16::gemm<cpu::bf16::Portable>(device, y, Operand<float>{a.data, a.stride, kLayout != Layout::tn},
                                         Operand<float>{b.data, b.stride, kLayout == Layout::nt},
                                         kLayout == Layout::tn ? a.rows : a.cols, alpha, beta);
}

template <Layout kLayout>
void gemm_kernel5(const Device& device, Matrix<float> y, Matrix<const float> a, Matrix<const float> b, float alpha,
                  float beta) {
    Device rounding = device;
    rounding.products = cpu::Products::bf16;
    gemm_kernel3<kLayout>(rounding, y, a, b, alpha, beta);
}

Tensor<float> random_bf16(int64_t rows, int64_t cols, uint32_t seed) {
    Tensor<float> values = benchmark::random<float>(rows, cols, seed);
    for (float& value : values.span()) value = bf16_to_float(float_to_bf16(value));
    return values;
}

template <Layout kLayout>
struct Product {
    using Kernel = decltype(&gemm_kernel1<kLayout>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"three loops, one thread", gemm_kernel1<kLayout>},
                {"blocks of 4 x 64, vectors, threads", gemm_kernel2<kLayout>},
                {"llmc/cpu/gemm/gemm.h: oneDNN", gemm_kernel3<kLayout>},
                {"bf16 pairs, panels, threads", gemm_kernel4<kLayout>},
                {"llmc/cpu/gemm/gemm.h with --dtype bf16", gemm_kernel5<kLayout>}};
    }

    int64_t depth;
    float beta;
    Tensor<float> a, b, y;

    Product(int64_t rows, int64_t cols, int64_t depth, float beta)
        : depth(depth),
          beta(beta),
          a(kLayout == Layout::tn ? random_bf16(depth, rows, 1) : random_bf16(rows, depth, 1)),
          b(kLayout == Layout::nt ? random_bf16(cols, depth, 2) : random_bf16(depth, cols, 2)),
          y(beta == 0 ? benchmark::unwritten<float>(rows, cols) : benchmark::random<float>(rows, cols, 3)) {}

    void call(Kernel kernel, const Device& device) { kernel(device, y, a, b, 0.5f, beta); }
    // Some 600 additions in float, with errors of either sign.
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("y", y, 2e-6)}; }
    benchmark::Work work() const {
        return {benchmark::Unit::float_operations, 2.0 * static_cast<double>(y.size()) * static_cast<double>(depth)};
    }
};

struct Layer : Product<Layout::nt> {
    static constexpr const char* name = "gemm_nt, layer";
    explicit Layer(const benchmark::Shape& shape) : Product(shape[0], shape[2], shape[1], 0) {}
};
struct AdapterInner : Product<Layout::nt> {
    static constexpr const char* name = "gemm_nt, Z = X A^T";
    explicit AdapterInner(const benchmark::Shape& shape) : Product(shape[0], shape[3], shape[1], 0) {}
};
struct AdapterOuter : Product<Layout::nt> {
    static constexpr const char* name = "gemm_nt, Y += Z Wz^T";
    explicit AdapterOuter(const benchmark::Shape& shape) : Product(shape[0], shape[2], shape[3], 1) {}
};
struct InputGradient : Product<Layout::nn> {
    static constexpr const char* name = "gemm_nn, dX += dZ A";
    explicit InputGradient(const benchmark::Shape& shape) : Product(shape[0], shape[1], shape[3], 1) {}
};
struct AdapterGradient : Product<Layout::tn> {
    static constexpr const char* name = "gemm_tn, dA += dZ^T X";
    explicit AdapterGradient(const benchmark::Shape& shape) : Product(shape[3], shape[1], shape[0], 1) {}
};

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run<Layer, AdapterInner, AdapterOuter, InputGradient, AdapterGradient>(
        argc, argv,
        {.operators =
             "gemm_nt, layer, gemm_nt, Z = X A^T, gemm_nt, Y += Z Wz^T, gemm_nn, dX += dZ A, gemm_tn, dA += dZ^T X",
         .dimensions = "tokens x in_features x out_features x rank",
         .odd = {{1, 1, 1, 1}, {2, 7, 3, 5}, {5, 33, 65, 4}, {17, 576, 70, 16}, {33, 101, 130, 61}},
         .timed = {{512, 3072, 1024, 109}}});
}
