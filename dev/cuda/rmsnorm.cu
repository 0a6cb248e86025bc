// RMSNorm with the residual addition before it, from a thread a row to the kernel that the program runs.
//
//   r[n,c]   = x[n,c] + y[n,c]
//   rstd[n]  = 1 / sqrt(mean_c r[n,c]^2 + eps)
//   out[n,c] = r[n,c] rstd[n] weight[c]
//
// backward, with g = dout weight and h = r rstd:
//   dr[n,c] += rstd[n] (g[n,c] - h[n,c] mean_c(g h))
//
// apply: out again from r and rstd, where backward needs it and it was not kept.
//
// n: tokens; c: channels. `out`, `r`, `rstd` are written (=), `dr` is accumulated (+=).
//
//   forward    kernel 1   a thread a row: neighbours of a warp read addresses a row apart, 32 transactions for one
//              kernel 2   a warp a row: neighbours read neighbours, and the sum goes by shuffles
//              kernel 3   a block a row: enough loads in flight also where there are few rows, and r is read again soon
//              kernel 4   llmc/cuda/rmsnorm.cuh: 16 bytes a load, r kept in shared memory between its two passes
//   backward   kernel 1   a thread a row
//              kernel 2   a warp a row
//              kernel 3   llmc/cuda/rmsnorm.cuh: a block a row, 16 bytes a load, dout and r kept in shared memory
//   apply      kernel 1   a thread an element
//              kernel 2   llmc/cuda/rmsnorm.cuh: a thread eight neighbours, 16 bytes a load
//
// Bytes: forward reads x and y and writes r and out; backward reads dout, r and dr and writes dr; apply reads r and
// writes out.
#include "dev/cuda/common.cuh"
#include "llmc/cpu/rmsnorm.h"
#include "llmc/cuda/rmsnorm.cuh"

namespace {

using namespace benchmark;
using cuda::from_float, cuda::to_float, cuda::kWarpSize;

constexpr float kEps = 1e-5f;

template <class T>
__global__ void rmsnorm_forward_kernel1(Matrix<T> out, Matrix<T> residual, float* rstd, Matrix<const T> x,
                                        Matrix<const T> y, const T* weight) {
    const int64_t n = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (n >= x.rows) return;
    float sum = 0;
    for (int64_t c = 0; c < x.cols; c++) {
        residual(n, c) = from_float<T>(to_float(x(n, c)) + to_float(y(n, c)));
        sum += to_float(residual(n, c)) * to_float(residual(n, c));
    }
    rstd[n] = 1 / sqrtf(sum / static_cast<float>(x.cols) + kEps);
    for (int64_t c = 0; c < x.cols; c++)
        out(n, c) = from_float<T>(to_float(residual(n, c)) * rstd[n] * to_float(weight[c]));
}

template <class T>
__global__ void rmsnorm_forward_kernel2(Matrix<T> out, Matrix<T> residual, float* rstd, Matrix<const T> x,
                                        Matrix<const T> y, const T* weight) {
    const int lane = threadIdx.x % kWarpSize;
    const int64_t n = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarpSize;
    if (n >= x.rows) return;
    float sum = 0;
    for (int64_t c = lane; c < x.cols; c += kWarpSize) {
        const T r = from_float<T>(to_float(x(n, c)) + to_float(y(n, c)));
        residual(n, c) = r;
        sum += to_float(r) * to_float(r);
    }
    const float scale = 1 / sqrtf(cuda::warp_sum(sum) / static_cast<float>(x.cols) + kEps);
    if (lane == 0) rstd[n] = scale;
    for (int64_t c = lane; c < x.cols; c += kWarpSize)
        out(n, c) = from_float<T>(to_float(residual(n, c)) * scale * to_float(weight[c]));
}

template <class T>
__global__ void rmsnorm_forward_kernel3(Matrix<T> out, Matrix<T> residual, float* rstd, Matrix<const T> x,
                                        Matrix<const T> y, const T* weight) {
    const int64_t n = blockIdx.x;
    float sum = 0;
    for (int64_t c = threadIdx.x; c < x.cols; c += blockDim.x) {
        const T r = from_float<T>(to_float(x(n, c)) + to_float(y(n, c)));
        residual(n, c) = r;
        sum += to_float(r) * to_float(r);
    }
    const float scale = 1 / sqrtf(cuda::block_sum(sum) / static_cast<float>(x.cols) + kEps);
    if (threadIdx.x == 0) rstd[n] = scale;
    for (int64_t c = threadIdx.x; c < x.cols; c += blockDim.x)
        out(n, c) = from_float<T>(to_float(residual(n, c)) * scale * to_float(weight[c]));
}

template <class T>
__global__ void rmsnorm_backward_kernel1(Matrix<T> dresidual, Matrix<const T> dout, Matrix<const T> residual,
                                         const float* rstd, const T* weight) {
    const int64_t n = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (n >= dout.rows) return;
    float sum = 0;  // of g h
    for (int64_t c = 0; c < dout.cols; c++)
        sum += to_float(dout(n, c)) * to_float(weight[c]) * to_float(residual(n, c)) * rstd[n];
    const float mean = sum / static_cast<float>(dout.cols);
    for (int64_t c = 0; c < dout.cols; c++) {
        const float g = to_float(dout(n, c)) * to_float(weight[c]), h = to_float(residual(n, c)) * rstd[n];
        dresidual(n, c) = from_float<T>(to_float(dresidual(n, c)) + rstd[n] * (g - h * mean));
    }
}

template <class T>
__global__ void rmsnorm_backward_kernel2(Matrix<T> dresidual, Matrix<const T> dout, Matrix<const T> residual,
                                         const float* rstd, const T* weight) {
    const int lane = threadIdx.x % kWarpSize;
    const int64_t n = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarpSize;
    if (n >= dout.rows) return;
    const float scale = rstd[n];
    float sum = 0;  // of g h
    for (int64_t c = lane; c < dout.cols; c += kWarpSize)
        sum += to_float(dout(n, c)) * to_float(weight[c]) * to_float(residual(n, c)) * scale;
    const float mean = cuda::warp_sum(sum) / static_cast<float>(dout.cols);
    for (int64_t c = lane; c < dout.cols; c += kWarpSize) {
        const float g = to_float(dout(n, c)) * to_float(weight[c]), h = to_float(residual(n, c)) * scale;
        dresidual(n, c) = from_float<T>(to_float(dresidual(n, c)) + scale * (g - h * mean));
    }
}

template <class T>
__global__ void rmsnorm_apply_kernel1(Matrix<T> out, Matrix<const T> residual, const float* rstd, const T* weight) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    const int64_t n = index / out.cols, c = index % out.cols;
    if (n < out.rows) out(n, c) = from_float<T>(to_float(residual(n, c)) * rstd[n] * to_float(weight[c]));
}

template <class T>
void forward(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], channels = shape[1];
    const Tensor<T> x(n, channels, 1), y(n, channels, 2), weight(1, channels, 3);
    const Tensor<T> out(n, channels), residual(n, channels);
    const Tensor<float> rstd(1, n);
    HostMatrix<double> expected_out(n, channels), expected_residual(n, channels), expected_rstd(1, n);

    // Beside the rounding of the result a thread adds up to a row of some thousand fp32 products: their roundings are
    // as often up as down. r is rounded before it is squared.
    const Tolerance rounding = rounded_to<T>({4e-6, 0});
    bench.run({
        .name = "rmsnorm_forward",
        .shape = shape,
        .work = moved(4 * x.bytes()),
        .reference =
            [&] {
                auto sum = x.template host<double>();
                const auto addend = y.template host<double>();
                for (int64_t i = 0; i < n * channels; i++) sum.data()[i] += addend.data()[i];
                round_to<T>(sum);
                cpu::rmsnorm_forward<double>({}, expected_out, expected_residual, expected_rstd.data(), sum, {},
                                             {weight.template host<double>().data()}, kEps);
            },
        .outputs = {written("out", out, expected_out, rounding), written("r", residual, expected_residual, {}),
                    written("rstd", rstd, expected_rstd, {4e-6, 0})},
        .versions = {{1,
                      "a thread a row",
                      {128, 32, 64, 256},
                      [&](int block) {
                          cuda::launch(device, "rmsnorm_forward_kernel1", rmsnorm_forward_kernel1<T>, blocks(n, block),
                                       block, 0, out, residual, rstd.data(), x, y, weight.data());
                      }},
                     {2,
                      "a warp a row",
                      {256, 32, 64, 128, 512},
                      [&](int block) {
                          cuda::launch(device, "rmsnorm_forward_kernel2", rmsnorm_forward_kernel2<T>,
                                       blocks(n * kWarpSize, block), block, 0, out, residual, rstd.data(), x, y,
                                       weight.data());
                      }},
                     {3,
                      "a block a row",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "rmsnorm_forward_kernel3", rmsnorm_forward_kernel3<T>,
                                       cuda::row_blocks(n), block, 0, out, residual, rstd.data(), x, y, weight.data());
                      }},
                     {4,
                      "llmc: 16-byte loads, r held",
                      {},
                      [&](int) {
                          cuda::rmsnorm_forward<T>(device, out, residual, rstd.data(), x, y, {weight.data()}, kEps);
                      }}},
    });
}

template <class T>
void backward(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], channels = shape[1];
    const Tensor<T> dout(n, channels, 1), residual(n, channels, 2), weight(1, channels, 3), before(n, channels, 4);
    const Tensor<T> dresidual(n, channels, 4);
    const Tensor<float> rstd(1, n, 5);
    auto expected = before.template host<double>();

    bench.run({
        .name = "rmsnorm_backward",
        .shape = shape,
        .work = moved(4 * dout.bytes()),
        .reference =
            [&] {
                cpu::rmsnorm_backward<double>({}, expected, dout.template host<double>(),
                                              residual.template host<double>(), rstd.template host<double>().data(),
                                              {weight.template host<double>().data()});
            },
        // Terms of up to 3 cancel to what is left: their fp32 roundings stay.
        .outputs = {updated("dr", dresidual, before, expected, rounded_to<T>({4e-6, 4e-6}))},
        .versions = {{1,
                      "a thread a row",
                      {128, 32, 64, 256},
                      [&](int block) {
                          cuda::launch(device, "rmsnorm_backward_kernel1", rmsnorm_backward_kernel1<T>,
                                       blocks(n, block), block, 0, dresidual, dout, residual, rstd.data(),
                                       weight.data());
                      }},
                     {2,
                      "a warp a row",
                      {256, 32, 64, 128, 512},
                      [&](int block) {
                          cuda::launch(device, "rmsnorm_backward_kernel2", rmsnorm_backward_kernel2<T>,
                                       blocks(n * kWarpSize, block), block, 0, dresidual, dout, residual, rstd.data(),
                                       weight.data());
                      }},
                     {3,
                      "llmc: 16-byte loads, dout and r held",
                      {},
                      [&](int) {
                          cuda::rmsnorm_backward<T>(device, dresidual, dout, residual, rstd.data(), {weight.data()});
                      }}},
    });
}

template <class T>
void apply(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], channels = shape[1];
    const Tensor<T> residual(n, channels, 2), weight(1, channels, 3), out(n, channels);
    const Tensor<float> rstd(1, n, 5);
    HostMatrix<double> expected(n, channels);
    bench.run({
        .name = "rmsnorm_apply",
        .shape = shape,
        .work = moved(2 * out.bytes()),
        .reference =
            [&] {
                cpu::rmsnorm_apply<double>({}, expected, residual.template host<double>(),
                                           rstd.template host<double>().data(),
                                           {weight.template host<double>().data()});
            },
        // Two fp32 products.
        .outputs = {written("out", out, expected, rounded_to<T>({2e-7, 0}))},
        .versions = {{1,
                      "a thread an element",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "rmsnorm_apply_kernel1", rmsnorm_apply_kernel1<T>,
                                       blocks(n * channels, block), block, 0, out, residual, rstd.data(),
                                       weight.data());
                      }},
                     {2,
                      "llmc: 16-byte loads",
                      {},
                      [&](int) { cuda::rmsnorm_apply<T>(device, out, residual, rstd.data(), {weight.data()}); }}},
    });
}

const Program kProgram{
    .operators = "rmsnorm_forward, rmsnorm_backward, rmsnorm_apply",
    .dimensions = "tokens x channels",
    .odd = {{5, 64}, {3, 61}, {2, 1000}, {67, 1}, {1, 8301}},
    .timed = {{8192, 3072}, {2048, 4096}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram, []<class T>(const Bench<T>& bench, const Shape& shape) {
        forward(bench, shape);
        backward(bench, shape);
        apply(bench, shape);
    });
}
