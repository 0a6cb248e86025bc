// The products of a layer with LoRA adapters under --dtype bf16: operands rounded to bf16, sums in float.
//
//   gemm_nt   y[N,O] = x[N,I] w[O,I]^T           a frozen layer at full precision, or the head
//             z[N,R] = x[N,I] a[R,I]^T           skinny: the adapters' inner products
//   gemm_nn   dx[N,I] = dy[N,O] w[O,I]           the same layer's gradient of its input
//   gemm_tn   da[R,I] += dz[N,R]^T x[N,I]        skinny: an adapter's gradient
//
//   kernel 1   the definition: three loops, one thread, rounded operands, sums in double
//   kernel 2   rounded copies of the operands, multiplied as floats by oneDNN: what rounding alone costs
//   kernel 3   pairs packed in panels, multiplied by vectors of floats: any processor (llmc/cpu/bf16_kernel.h)
//   kernel 4   llmc/cpu/bf16_gemm.h: the same with AVX512_BF16 where it is; there twice the rate of floats is 200% of
//              the ceiling, which is that of fp32
//
//   make -C dev/cpu && build/dev/cpu/bf16_gemm [version] [--shape ...]
#include "llmc/cpu/bf16_gemm.h"

#include "dev/cpu/common.h"
#include "llmc/cpu/bf16_tiles.h"
#include "llmc/cpu/gemm.h"

namespace {

using namespace llmc;
using benchmark::Device, benchmark::Tensor;

// layout: N or T for each operand.
using Kernel = void (*)(const Device&, const char* layout, Matrix<float> y, Matrix<const float> a,
                        Matrix<const float> b, int64_t depth, float beta);

float rounded(float value) {
    return bf16_to_float(float_to_bf16(value));
}

void gemm_kernel1(const Device&, const char* layout, Matrix<float> y, Matrix<const float> a, Matrix<const float> b,
                  int64_t depth, float beta) {
    for (int64_t m = 0; m < y.rows; m++) {
        for (int64_t n = 0; n < y.cols; n++) {
            double sum = 0;
            for (int64_t k = 0; k < depth; k++)
                sum += double{rounded(layout[0] == 'T' ? a(k, m) : a(m, k))} *
                       double{rounded(layout[1] == 'T' ? b(n, k) : b(k, n))};
            y(m, n) = static_cast<float>(sum + (beta == 0 ? 0.0 : double{beta} * double{y(m, n)}));
        }
    }
}

std::vector<float> rounded_copy(const Device& device, Matrix<const float> m) {
    std::vector<float> copy(static_cast<size_t>(m.size()));
#pragma omp parallel for num_threads(device.threads) schedule(static)
    for (int64_t i = 0; i < m.rows; i++)
        for (int64_t j = 0; j < m.cols; j++) copy[static_cast<size_t>(i * m.cols + j)] = rounded(m(i, j));
    return copy;
}

void gemm_kernel2(const Device& device, const char* layout, Matrix<float> y, Matrix<const float> a,
                  Matrix<const float> b, int64_t depth, float beta) {
    const std::vector<float> a_rounded = rounded_copy(device, a), b_rounded = rounded_copy(device, b);
    cpu::gemm<float>(device, layout[0], layout[1], y, {a_rounded.data(), a.rows, a.cols},
                     {b_rounded.data(), b.rows, b.cols}, depth, 1, beta);
}

void gemm_kernel3(const Device& device, const char* layout, Matrix<float> y, Matrix<const float> a,
                  Matrix<const float> b, int64_t depth, float beta) {
    using cpu::bf16::Operand;
    cpu::bf16::gemm<cpu::bf16::Portable>(device, y, Operand<float>{a.data, a.stride, layout[0] != 'T'},
                                         Operand<float>{b.data, b.stride, layout[1] == 'T'}, depth, 1, beta);
}

void gemm_kernel4(const Device& device, const char* layout, Matrix<float> y, Matrix<const float> a,
                  Matrix<const float> b, int64_t depth, float beta) {
    cpu::bf16_gemm(device, layout[0], layout[1], y, a, b, depth, 1.0f, beta);
}

struct Product {
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"three loops, one thread", gemm_kernel1},
                {"rounded copies, oneDNN in fp32", gemm_kernel2},
                {"packed pairs, any processor", gemm_kernel3},
                {"llmc/cpu/bf16_gemm.h", gemm_kernel4}};
    }

    const char* layout;
    int64_t depth;
    float beta;
    Tensor<float> a, b, y;

    Product(const char* layout, int64_t rows, int64_t cols, int64_t depth, float beta)
        : layout(layout),
          depth(depth),
          beta(beta),
          a(layout[0] == 'T' ? benchmark::random<float>(depth, rows, 1) : benchmark::random<float>(rows, depth, 1)),
          b(layout[1] == 'T' ? benchmark::random<float>(cols, depth, 2) : benchmark::random<float>(depth, cols, 2)),
          y(beta == 0 ? benchmark::unwritten<float>(rows, cols) : benchmark::random<float>(rows, cols, 3)) {}

    void call(Kernel kernel, const Device& device) { kernel(device, layout, y, a, b, depth, beta); }
    // As gemm.cpp: the products are exact, the additions are those of floats.
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("y", y, 2e-6)}; }
    benchmark::Work work() const {
        return {benchmark::Unit::float_operations, 2.0 * static_cast<double>(y.size()) * static_cast<double>(depth)};
    }
};

struct Layer : Product {
    static constexpr const char* name = "bf16_gemm_nt, layer";
    explicit Layer(const benchmark::Shape& shape) : Product("NT", shape[0], shape[2], shape[1], 0) {}
};
struct LayerGradient : Product {
    static constexpr const char* name = "bf16_gemm_nn, dX = dY W";
    explicit LayerGradient(const benchmark::Shape& shape) : Product("NN", shape[0], shape[1], shape[2], 0) {}
};
struct AdapterInner : Product {
    static constexpr const char* name = "bf16_gemm_nt, Z = X A^T";
    explicit AdapterInner(const benchmark::Shape& shape) : Product("NT", shape[0], shape[3], shape[1], 0) {}
};
struct AdapterGradient : Product {
    static constexpr const char* name = "bf16_gemm_tn, dA += dZ^T X";
    explicit AdapterGradient(const benchmark::Shape& shape) : Product("TN", shape[3], shape[1], shape[0], 1) {}
};

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run<Layer, LayerGradient, AdapterInner, AdapterGradient>(
        argc, argv,
        {.operators =
             "bf16_gemm_nt, layer, bf16_gemm_nn, dX = dY W, bf16_gemm_nt, Z = X A^T, bf16_gemm_tn, dA += dZ^T X",
         .dimensions = "tokens x in_features x out_features x rank",
         .odd = {{1, 1, 1, 1}, {2, 7, 3, 5}, {5, 33, 65, 4}, {17, 576, 70, 16}, {49, 101, 130, 61}},
         .timed = {{512, 3072, 1024, 48}}});
}
