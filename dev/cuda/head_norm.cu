// RMSNorm of every head of the queries, or of the keys, in place, from a thread a head to the kernel that the program
// runs.
//
//   kept[n,h,d] = x[n,h,d]
//   rstd[n,h]   = 1 / sqrt(mean_d x[n,h,d]^2 + eps)
//   x[n,h,d]    = x[n,h,d] rstd[n,h] weight[d]
//
// backward, with g = dx weight and y = kept rstd:
//   dx[n,h,d]   = rstd[n,h] (g[n,h,d] - y[n,h,d] mean_d(g y))
//
// n: tokens; h: heads; d: channels of a head.
//
//   kernel 1   a thread a head: neighbours of a warp read addresses a head apart
//   kernel 2   a warp a head: neighbours read neighbours, and the sum goes by shuffles
//   kernel 3   llmc/cuda/head_norm.cuh: as many lanes a head as it has 16-byte loads
//
// Bytes: forward reads x and writes x and kept; backward reads dx and kept and writes dx.
#include "dev/cuda/common.cuh"
#include "llmc/cpu/head_norm.h"
#include "llmc/cuda/head_norm.cuh"

namespace {

using namespace benchmark;
using cuda::from_float, cuda::to_float, cuda::kWarpSize;

constexpr float kEps = 1e-5f;

// Kernels 1 and 2: one lane, or those of a warp, own a head.
template <class T, int kLanes>
__global__ void forward_kernel(Matrix<T> x, Matrix<T> kept, Matrix<float> rstd, const T* weight, int head_dim) {
    const int64_t head = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kLanes;
    const int64_t n = head / rstd.cols, h = head % rstd.cols;
    const int lane = static_cast<int>(threadIdx.x % kLanes);
    if (n >= x.rows) return;
    T *values = x.row(n) + h * head_dim, *copy = kept.row(n) + h * head_dim;
    float sum = 0;
    for (int d = lane; d < head_dim; d += kLanes) {
        copy[d] = values[d];
        sum += to_float(values[d]) * to_float(values[d]);
    }
    if constexpr (kLanes > 1) sum = cuda::warp_sum(sum);
    const float scale = 1 / sqrtf(sum / static_cast<float>(head_dim) + kEps);
    if (lane == 0) rstd(n, h) = scale;
    for (int d = lane; d < head_dim; d += kLanes)
        values[d] = from_float<T>(to_float(values[d]) * scale * to_float(weight[d]));
}

template <class T, int kLanes>
__global__ void backward_kernel(Matrix<T> dx, Matrix<const T> kept, Matrix<const float> rstd, const T* weight,
                                int head_dim) {
    const int64_t head = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kLanes;
    const int64_t n = head / rstd.cols, h = head % rstd.cols;
    const int lane = static_cast<int>(threadIdx.x % kLanes);
    if (n >= dx.rows) return;
    T* gradient = dx.row(n) + h * head_dim;
    const T* values = kept.row(n) + h * head_dim;
    float sum = 0;
    for (int d = lane; d < head_dim; d += kLanes)
        sum += to_float(gradient[d]) * to_float(weight[d]) * to_float(values[d]);
    if constexpr (kLanes > 1) sum = cuda::warp_sum(sum);
    const float scale = rstd(n, h), coefficient = sum * scale * scale / static_cast<float>(head_dim);
    for (int d = lane; d < head_dim; d += kLanes)
        gradient[d] =
            from_float<T>(scale * (to_float(gradient[d]) * to_float(weight[d]) - to_float(values[d]) * coefficient));
}

template <class T>
void forward(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], heads = shape[1], width = shape[1] * shape[2];
    const int head_dim = static_cast<int>(shape[2]);
    const Tensor<T> before(n, width, 1), x(n, width, 1), kept(n, width), weight(1, head_dim, 3);
    const Tensor<float> rstd(n, heads);
    HostMatrix<double> expected(0, 0), expected_kept(n, width), expected_rstd(n, heads);

    bench.run({
        .name = "head_norm_forward",
        .shape = shape,
        .work = moved(3 * x.bytes()),
        .reference =
            [&] {
                expected = before.template host<double>();
                cpu::head_norm_forward<double>({}, expected, expected_kept, expected_rstd,
                                               {weight.template host<double>().data()}, kEps);
            },
        // A float sum of up to 256 squares is off by some 1e-6 of itself.
        .outputs = {updated("x", x, before, expected, rounded_to<T>({4e-6, 0})),
                    written("kept", kept, expected_kept, {}), written("rstd", rstd, expected_rstd, {4e-6, 0})},
        .versions = {{1,
                      "a thread a head",
                      {128, 32, 64, 256},
                      [&](int block) {
                          cuda::launch(device, "head_norm_forward_kernel1", forward_kernel<T, 1>,
                                       blocks(n * heads, block), block, 0, x, kept, rstd, weight.data(), head_dim);
                      }},
                     {2,
                      "a warp a head",
                      {256, 32, 64, 128, 512},
                      [&](int block) {
                          cuda::launch(device, "head_norm_forward_kernel2", forward_kernel<T, kWarpSize>,
                                       blocks(n * heads * kWarpSize, block), block, 0, x, kept, rstd, weight.data(),
                                       head_dim);
                      }},
                     {3,
                      "llmc: teams of lanes, 16-byte loads",
                      {},
                      [&](int) { cuda::head_norm_forward<T>(device, x, kept, rstd, {weight.data()}, kEps); }}},
    });
}

template <class T>
void backward(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], heads = shape[1], width = shape[1] * shape[2];
    const int head_dim = static_cast<int>(shape[2]);
    const Tensor<T> before(n, width, 1), dx(n, width, 1), kept(n, width, 2), weight(1, head_dim, 3);
    const Tensor<float> rstd(n, heads, 4);
    HostMatrix<double> expected(0, 0);

    bench.run({
        .name = "head_norm_backward",
        .shape = shape,
        .work = moved(3 * dx.bytes()),
        .reference =
            [&] {
                expected = before.template host<double>();
                cpu::head_norm_backward<double>({}, expected, kept.template host<double>(),
                                                rstd.template host<double>(), {weight.template host<double>().data()});
            },
        // Terms of up to 3 cancel to what is left: their fp32 roundings stay.
        .outputs = {updated("dx", dx, before, expected, rounded_to<T>({4e-6, 4e-6}))},
        .versions = {{1,
                      "a thread a head",
                      {128, 32, 64, 256},
                      [&](int block) {
                          cuda::launch(device, "head_norm_backward_kernel1", backward_kernel<T, 1>,
                                       blocks(n * heads, block), block, 0, dx, kept, rstd, weight.data(), head_dim);
                      }},
                     {2,
                      "a warp a head",
                      {256, 32, 64, 128, 512},
                      [&](int block) {
                          cuda::launch(device, "head_norm_backward_kernel2", backward_kernel<T, kWarpSize>,
                                       blocks(n * heads * kWarpSize, block), block, 0, dx, kept, rstd, weight.data(),
                                       head_dim);
                      }},
                     {3,
                      "llmc: teams of lanes, 16-byte loads",
                      {},
                      [&](int) { cuda::head_norm_backward<T>(device, dx, kept, rstd, {weight.data()}); }}},
    });
}

const Program kProgram{
    .operators = "head_norm_forward, head_norm_backward",
    .dimensions = "tokens x heads x head_dim",
    .odd = {{5, 3, 64}, {7, 1, 10}, {3, 2, 61}, {1, 5, 130}, {67, 1, 2}},
    .timed = {{8192, 24, 128}, {8192, 16, 64}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram, []<class T>(const Bench<T>& bench, const Shape& shape) {
        forward(bench, shape);
        backward(bench, shape);
    });
}
