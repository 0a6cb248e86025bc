// The 16-bit products of a linear layer: the large ones of full precision, and the one that adds adapters and outlier
// channels to the int8 product. Those with the adapters' A are in lora_down.cu.
//
//   gemm_nt    y[n,o]  = sum_i x[n,i] w[o,i]           forward
//   gemm_nn    dx[n,i] = sum_o dy[n,o] w[o,i]          gradient of the input
//   joint_up   y[n,o] += sum_k z[n,k] wz[o,k]          adapter and outlier channels together
//
// n: tokens; i, o: features; k: rank and outlier channels, filled up to a multiple of 8.
//
//   kernel 1   a thread an element
//   kernel 2   llmc/cuda/gemm/gemm.cuh: cuBLASLt
//
// The large ones count operations, joint_up the bytes of its operands, read once, and of its result.
#include "dev/cuda/common.cuh"
#include "llmc/cpu/gemm/gemm.h"
#include "llmc/cuda/gemm/gemm.cuh"

namespace {

using namespace benchmark;
using cuda::from_float, cuda::to_float;

// `adds`: += and not =.
template <class T>
__global__ void gemm_nt_kernel1(Matrix<T> y, Matrix<const T> x, Matrix<const T> w, bool adds) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, n = index / y.cols, o = index % y.cols;
    if (n >= y.rows) return;
    float sum = 0;
    for (int64_t i = 0; i < x.cols; i++) sum += to_float(x(n, i)) * to_float(w(o, i));
    y(n, o) = from_float<T>(adds ? to_float(y(n, o)) + sum : sum);
}

template <class T>
__global__ void gemm_nn_kernel1(Matrix<T> dx, Matrix<const T> dy, Matrix<const T> w) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, n = index / dx.cols, i = index % dx.cols;
    if (n >= dx.rows) return;
    float sum = 0;
    for (int64_t o = 0; o < dy.cols; o++) sum += to_float(dy(n, o)) * to_float(w(o, i));
    dx(n, i) = from_float<T>(sum);
}

template <class T>
void gemm_nt1(const cuda::Device<T>& device, int block, Matrix<T> y, Matrix<const T> x, Matrix<const T> w, bool adds) {
    cuda::launch(device, "gemm_nt_kernel1", gemm_nt_kernel1<T>, blocks(y.size(), block), block, 0, y, x, w, adds);
}

// A linear layer, as a shape describes it.
struct Linear {
    int64_t n, out, in, rank, outliers;
    explicit Linear(const Shape& shape)
        : n(shape[0]), out(shape[1]), in(shape[2]), rank(shape[3]), outliers(shape[4]) {}

    Work operations() const {
        return float_operations(2.0 * static_cast<double>(n) * static_cast<double>(out) * static_cast<double>(in));
    }
};

template <class T>
void large(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const Linear linear(shape);
    const Tensor<T> x(linear.n, linear.in, 1), w(linear.out, linear.in, 2), dy(linear.n, linear.out, 3);
    const Tensor<T> y(linear.n, linear.out), dx(linear.n, linear.in);
    HostMatrix<double> expected_y(linear.n, linear.out), expected_dx(linear.n, linear.in);

    bench.run({
        .name = "gemm_nt",
        .shape = shape,
        .work = linear.operations(),
        .reference =
            [&] { cpu::gemm_nt<double>({}, expected_y, x.template host<double>(), w.template host<double>(), 1, 0); },
        .outputs = {written("y", y, expected_y, sum_of<T>(linear.in))},
        .versions =
            {{1, "a thread an element", {128, 256}, [&](int block) { gemm_nt1<T>(device, block, y, x, w, false); }},
             {2, "llmc: cuBLASLt", {}, [&](int) { cuda::gemm_nt<T>(device, y.view(), x, w, 1, 0); }}},
    });
    bench.run({
        .name = "gemm_nn",
        .shape = shape,
        .work = linear.operations(),
        .reference =
            [&] { cpu::gemm_nn<double>({}, expected_dx, dy.template host<double>(), w.template host<double>(), 1, 0); },
        .outputs = {written("dx", dx, expected_dx, sum_of<T>(linear.out))},
        .versions = {{1,
                      "a thread an element",
                      {128, 256},
                      [&](int block) {
                          cuda::launch(device, "gemm_nn_kernel1", gemm_nn_kernel1<T>, blocks(dx.view().size(), block),
                                       block, 0, dx, dy, w);
                      }},
                     {2, "llmc: cuBLASLt", {}, [&](int) { cuda::gemm_nn<T>(device, dx.view(), dy, w, 1, 0); }}},
    });
}

template <class T>
void up(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const Linear linear(shape);
    const int64_t terms = cuda::padded_contraction(device, linear.rank + linear.outliers);
    const Tensor<T> z(linear.n, terms, 1), wz(linear.out, terms, 2), before(linear.n, linear.out, 3);
    const Tensor<T> y(linear.n, linear.out);
    HostMatrix<double> expected(linear.n, linear.out);
    // cuBLASLt rounds the product to T before it adds y, and the sum once more. The product is at most the result and
    // y, which is below 1, together.
    const Tolerance sum = sum_of<T>(terms), allowed = rounded_to<T>({sum.relative, sum.absolute + unit_roundoff<T>()});

    bench.run({
        .name = "joint_up",
        .shape = shape,
        .work = moved(2 * y.bytes() + z.bytes() + wz.bytes()),
        .reference =
            [&] {
                expected = before.template host<double>();
                cpu::gemm_nt<double>({}, expected, z.template host<double>(), wz.template host<double>(), 1, 1);
            },
        .outputs = {updated("y", y, before, expected, allowed)},
        .versions =
            {{1, "a thread an element", {128, 256}, [&](int block) { gemm_nt1<T>(device, block, y, z, wz, true); }},
             {2, "llmc: cuBLASLt", {}, [&](int) { cuda::gemm_nt<T>(device, y.view(), z, wz, 1, 1); }}},
    });
}

// Timed: o_proj, qkv_proj, gate_up_proj and down_proj of Phi-3-mini, with 2% of their channels as outliers; r = 64.
const Program kProgram{
    .operators = "gemm_nt, gemm_nn, joint_up",
    .dimensions = "tokens x out x in x rank x outliers",
    .odd = {{3, 5, 7, 2, 1}, {33, 61, 200, 16, 12}, {70, 40, 136, 37, 0}, {1, 130, 264, 24, 60}},
    .timed = {{8192, 3072, 3072, 16, 60},
              {8192, 9216, 3072, 16, 60},
              {8192, 16384, 3072, 16, 60},
              {8192, 3072, 8192, 16, 160},
              {8192, 3072, 3072, 64, 60}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram, []<class T>(const Bench<T>& bench, const Shape& shape) {
        large(bench, shape);
        up(bench, shape);
    });
}
