// Rows of floats to int8, alone and fused with what comes before, because the tensor crosses memory once for every
// kernel.
//
//   scale[n] = max_i |v[n,i]| / 127, a zero row gets 1
//   q[n,i]   = clamp(round_half_even(v[n,i] / scale[n]), -127, 127)
//
//   quantize_rows            v = x
//   quantize_rows_outliers   v = Xh, x with channel channels[j] divided by s[j];  outliers[n,j] = Xh[n,channels[j]]
//   rmsnorm_quantize         the same behind RMSNorm with its residual:  x = out of rmsnorm.cu
//   swiglu_quantize          the same behind SwiGLU:                     x = g sigmoid(g) u
//   quantize_gradient_rows   v[n,i] = dy[n,i] col_scale[i]
//
// n: tokens; i: channels. All outputs are written (=). q's rows and columns are padded to multiples of 16 with zeros,
// as the int8 GEMM wants them.
//
//   quantize_rows            kernel 1   a thread a row
//                            kernel 2   a warp a row: neighbours read neighbours, maximum by shuffles, x read twice
//                            kernel 3   llmc/cuda/quantize.cuh: a block a row, held in shared memory, 16 bytes a load
//   quantize_rows_outliers   kernel 1   two kernels: Xh and outliers to memory, then quantize_rows
//                            kernel 2   llmc: the channels are scaled and gathered while the row is held
//   rmsnorm_quantize         kernel 1   rmsnorm_forward; quantize_rows
//                            kernel 2   llmc/cuda/rmsnorm.cuh: one kernel, the same bits
//   swiglu_quantize          kernel 1   swiglu_forward; quantize_rows
//                            kernel 2   llmc/cuda/swiglu.cuh: one kernel, the same bits
//   quantize_gradient_rows   kernel 1   two kernels: the scaled rows to memory in fp32, then quantize_rows
//                            kernel 2   a warp a row: scaled as they are read, both times
//                            kernel 3   llmc/cuda/quantize.cuh: a block a row, held in shared memory, 16 bytes a load
//
// Bytes count what the fused kernel has to move, for all versions of an operator: rates compare as times do.
#include "dev/cuda/common.cuh"
#include "llmc/cpu/rmsnorm.h"
#include "llmc/cpu/swiglu.h"
#include "llmc/cuda/rmsnorm.cuh"
#include "llmc/cuda/swiglu.cuh"

namespace {

using namespace benchmark;
using cuda::from_float, cuda::to_float, cuda::kWarpSize;

constexpr float kEps = 1e-5f;

// q has at least x's rows and columns.
template <class T>
__global__ void quantize_rows_kernel1(Matrix<int8_t> q, float* row_scale, Matrix<const T> x) {
    const int64_t n = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (n >= q.rows) return;
    int largest = 0;
    if (n < x.rows) {
        for (int64_t i = 0; i < x.cols; i++) largest = max(largest, cuda::magnitude_bits(to_float(x(n, i))));
        row_scale[n] = cuda::scale_from_magnitude(largest);
    }
    for (int64_t i = 0; i < q.cols; i++)
        q(n, i) = n < x.rows && i < x.cols ? cuda::Quantizer(row_scale[n])(to_float(x(n, i))) : 0;
}

template <class T>
__global__ void quantize_rows_kernel2(Matrix<int8_t> q, float* row_scale, Matrix<const T> x) {
    const int lane = threadIdx.x % kWarpSize;
    const int64_t n = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarpSize;
    if (n >= q.rows) return;
    float largest = 0;
    if (n < x.rows)
        for (int64_t i = lane; i < x.cols; i += kWarpSize) largest = fmaxf(largest, fabsf(to_float(x(n, i))));
    const float scale = cuda::scale_from_magnitude(cuda::magnitude_bits(cuda::warp_max(largest)));
    if (n < x.rows && lane == 0) row_scale[n] = scale;
    for (int64_t i = lane; i < q.cols; i += kWarpSize)
        q(n, i) = n < x.rows && i < x.cols ? cuda::Quantizer(scale)(to_float(x(n, i))) : 0;
}

// The first of the two kernels: Xh to memory, over x, and the outlier channels beside it. A block a row.
template <class T>
__global__ void scale_outliers_kernel1(Matrix<T> scaled, Matrix<T> outliers, Matrix<const T> x, const int32_t* channels,
                                       const float* s) {
    const int64_t n = blockIdx.x;
    for (int64_t i = threadIdx.x; i < x.cols; i += blockDim.x) scaled(n, i) = x(n, i);
    __syncthreads();  // a channel is another thread's column
    for (int64_t j = threadIdx.x; j < outliers.cols; j += blockDim.x) {
        const T value = from_float<T>(to_float(x(n, channels[j])) / s[j]);
        scaled(n, channels[j]) = value;
        outliers(n, j) = value;
    }
}

// The first of the two kernels.
template <class T>
__global__ void scale_columns_kernel1(Matrix<float> scaled, Matrix<const T> dy, const float* col_scale) {
    const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    const int64_t n = index / dy.cols, i = index % dy.cols;
    if (n < dy.rows) scaled(n, i) = to_float(dy(n, i)) * col_scale[i];
}

// As quantize_rows_kernel2.
template <class T>
__global__ void quantize_gradient_rows_kernel2(Matrix<int8_t> q, float* row_scale, Matrix<const T> dy,
                                               const float* col_scale) {
    const int lane = threadIdx.x % kWarpSize;
    const int64_t n = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarpSize;
    if (n >= q.rows) return;
    float largest = 0;
    if (n < dy.rows)
        for (int64_t i = lane; i < dy.cols; i += kWarpSize)
            largest = fmaxf(largest, fabsf(to_float(dy(n, i)) * col_scale[i]));
    const float scale = cuda::scale_from_magnitude(cuda::magnitude_bits(cuda::warp_max(largest)));
    if (n < dy.rows && lane == 0) row_scale[n] = scale;
    for (int64_t i = lane; i < q.cols; i += kWarpSize)
        q(n, i) = n < dy.rows && i < dy.cols ? cuda::Quantizer(scale)(to_float(dy(n, i)) * col_scale[i]) : 0;
}

constexpr int64_t kPadding = 16;

int64_t padded(int64_t extent) {
    return cuda::round_up(extent, kPadding);
}

// Some 2% of the channels, 1 at the least, and what they are divided by: powers of two, so that Xh is exact in every
// type and q has to agree to the bit.
struct Outliers {
    explicit Outliers(int64_t channels_of_x) {
        for (int64_t c = channels_of_x / 64; c < channels_of_x; c += 50) {
            numbers.push_back(static_cast<int32_t>(c));
            divisors.push_back(std::ldexp(1.0f, static_cast<int>(c % 5)));
        }
    }
    std::vector<int32_t> numbers;
    std::vector<float> divisors;
};

// What the four operators write, what is expected of it, and the outlier channels they have in common.
template <class T>
struct Quantized {
    Quantized(int64_t n, int64_t channels_of_x)
        : chosen(channels_of_x),
          count(static_cast<int64_t>(chosen.numbers.size())),
          channels(chosen.numbers),
          s(chosen.divisors),
          q(padded(n), padded(channels_of_x)),
          row_scale(1, n),
          outliers(n, count),
          expected_q(padded(n), padded(channels_of_x)),
          expected_scale(1, n),
          expected_outliers(n, count) {}

    // The reference: rows of float, by the CPU operator.
    void expect(Matrix<const float> x, bool scales_outliers) {
        const Matrix<int8_t> padded_q = expected_q;
        cpu::quantize_rows({}, padded_q.first_rows(x.rows), expected_scale.data(), expected_outliers, x,
                           {scales_outliers ? std::span<const int32_t>(chosen.numbers) : std::span<const int32_t>(),
                            chosen.divisors.data()});
    }
    // q as llmc takes it: x's columns are its own, its rows a stride apart that ends in padding.
    Matrix<int8_t> q_view(int64_t cols) const { return {q.data(), q.rows(), cols, q.cols()}; }
    int64_t bytes() const { return q.bytes() + row_scale.bytes() + outliers.bytes(); }

    Outliers chosen;
    int64_t count;
    Tensor<int32_t> channels;
    Tensor<float> s;
    Tensor<int8_t> q;
    Tensor<float> row_scale;
    Tensor<T> outliers;
    HostMatrix<int8_t> expected_q;
    HostMatrix<float> expected_scale, expected_outliers;
};

template <class T>
void quantize(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], channels = shape[1];
    const Tensor<T> x(n, channels, 1, 3);
    Quantized<T> to(n, channels);
    bench.run({
        .name = "quantize_rows",
        .shape = shape,
        .work = moved(x.bytes() + to.q.bytes() + to.row_scale.bytes()),
        .reference = [&] { to.expect(x.template host<float>(), false); },
        .outputs = {written("q", to.q, to.expected_q, {}), written("row_scale", to.row_scale, to.expected_scale, {})},
        .versions = {{1,
                      "a thread a row",
                      {128, 32, 64, 256},
                      [&](int block) {
                          cuda::launch(device, "quantize_rows_kernel1", quantize_rows_kernel1<T>,
                                       blocks(to.q.rows(), block), block, 0, to.q, to.row_scale.data(), x);
                      }},
                     {2,
                      "a warp a row",
                      {256, 32, 64, 128, 512},
                      [&](int block) {
                          cuda::launch(device, "quantize_rows_kernel2", quantize_rows_kernel2<T>,
                                       blocks(to.q.rows() * kWarpSize, block), block, 0, to.q, to.row_scale.data(), x);
                      }},
                     {3,
                      "llmc: a block a row, held",
                      {},
                      [&](int) {
                          cuda::quantize_rows<T>(device, to.q_view(channels), to.row_scale.data(), Matrix<T>(), x, {});
                      }}},
    });
}

template <class T>
void quantize_outliers(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], channels = shape[1];
    const Tensor<T> x(n, channels, 1, 3), scaled(n, channels);
    Quantized<T> to(n, channels);
    bench.run({
        .name = "quantize_rows_outliers",
        .shape = shape,
        .work = moved(x.bytes() + to.bytes()),
        .reference = [&] { to.expect(x.template host<float>(), true); },
        .outputs = {written("q", to.q, to.expected_q, {}), written("row_scale", to.row_scale, to.expected_scale, {}),
                    written("outliers", to.outliers, to.expected_outliers, {})},
        .versions = {{1,
                      "Xh to memory, then quantize_rows",
                      {256, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "scale_outliers_kernel1", scale_outliers_kernel1<T>, cuda::row_blocks(n),
                                       block, 0, scaled, to.outliers, x, to.channels.data(), to.s.data());
                          cuda::quantize_rows<T>(device, to.q_view(channels), to.row_scale.data(), Matrix<T>(), scaled,
                                                 {});
                      }},
                     {2,
                      "llmc: while the row is held",
                      {},
                      [&](int) {
                          cuda::quantize_rows<T>(device, to.q_view(channels), to.row_scale.data(), to.outliers, x,
                                                 {to.channels.span(), to.s.data()});
                      }}},
    });
}

// Behind an operator whose sums run in another order than the CPU's, a value of `out` may be rounded to T the other
// way, and so may the largest of its row: q is then off by one for each, and what a row's scale is off by is T's
// spacing.
template <class T>
std::vector<Output> outputs_behind(const Quantized<T>& to, const Tensor<T>& out, const HostMatrix<float>& expected) {
    const double spacing = 2 * unit_roundoff<T>() + 4e-6;
    return {written("out", out, expected, {spacing, 1e-7}), written("q", to.q, to.expected_q, {0, 2}),
            written("row_scale", to.row_scale, to.expected_scale, {spacing, 0}),
            written("outliers", to.outliers, to.expected_outliers, {spacing, 1e-7})};
}

template <class T>
void behind_rmsnorm(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], channels = shape[1];
    const Tensor<T> x(n, channels, 1), y(n, channels, 2), weight(1, channels, 3), out(n, channels), r(n, channels);
    const Tensor<float> rstd(1, n);
    Quantized<T> to(n, channels);
    HostMatrix<float> expected(n, channels);
    bench.run({
        .name = "rmsnorm_quantize",
        .shape = shape,
        .work = moved(4 * x.bytes() + to.bytes()),
        .reference =
            [&] {
                auto sum = x.template host<float>();
                const auto addend = y.template host<float>();
                HostMatrix<float> host_rstd(1, n);
                for (int64_t i = 0; i < n * channels; i++) sum.data()[i] += addend.data()[i];
                round_to<T>(sum);
                cpu::rmsnorm_forward<float>({}, expected, sum, host_rstd.data(), sum, {},
                                            {weight.template host<float>().data()}, kEps);
                round_to<T>(expected);
                to.expect(expected, true);
            },
        .outputs = outputs_behind(to, out, expected),
        .versions = {{1,
                      "rmsnorm_forward, then quantize_rows",
                      {},
                      [&](int) {
                          cuda::rmsnorm_forward<T>(device, out, r, rstd.data(), x, y, {weight.data()}, kEps);
                          cuda::quantize_rows<T>(device, to.q_view(channels), to.row_scale.data(), to.outliers, out,
                                                 {to.channels.span(), to.s.data()});
                      }},
                     {2,
                      "llmc: one kernel",
                      {},
                      [&](int) {
                          cuda::rmsnorm_forward_quantize<T>(device, out, r, rstd.data(), to.q_view(channels),
                                                            to.row_scale.data(), to.outliers, x, y, {weight.data()},
                                                            kEps, {to.channels.span(), to.s.data()});
                      }}},
    });
}

template <class T>
void behind_swiglu(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], channels = shape[1];
    const Tensor<T> gate_up(n, 2 * channels, 1, 3), out(n, channels);
    Quantized<T> to(n, channels);
    HostMatrix<float> expected(n, channels);
    bench.run({
        .name = "swiglu_quantize",
        .shape = shape,
        .work = moved(gate_up.bytes() + out.bytes() + to.bytes()),
        .reference =
            [&] {
                cpu::swiglu_forward<float>({}, expected, gate_up.template host<float>());
                round_to<T>(expected);
                to.expect(expected, true);
            },
        .outputs = outputs_behind(to, out, expected),
        .versions = {{1,
                      "swiglu_forward, then quantize_rows",
                      {},
                      [&](int) {
                          cuda::swiglu_forward<T>(device, out, gate_up);
                          cuda::quantize_rows<T>(device, to.q_view(channels), to.row_scale.data(), to.outliers, out,
                                                 {to.channels.span(), to.s.data()});
                      }},
                     {2,
                      "llmc: one kernel",
                      {},
                      [&](int) {
                          cuda::swiglu_forward_quantize<T>(device, out, to.q_view(channels), to.row_scale.data(),
                                                           to.outliers, gate_up, {to.channels.span(), to.s.data()});
                      }}},
    });
}

template <class T>
void quantize_gradient(const Bench<T>& bench, const Shape& shape) {
    const auto& device = bench.device;
    const int64_t n = shape[0], channels = shape[1];
    const Tensor<T> dy(n, channels, 1, 3);
    const Tensor<float> col_scale(1, channels, 2), scaled(n, channels);
    Quantized<T> to(n, channels);
    bench.run({
        .name = "quantize_gradient_rows",
        .shape = shape,
        .work = moved(dy.bytes() + to.q.bytes() + to.row_scale.bytes()),
        .reference =
            [&] {
                const Matrix<int8_t> padded_q = to.expected_q;
                cpu::quantize_gradient_rows({}, padded_q.first_rows(n), to.expected_scale.data(),
                                            dy.template host<float>(), col_scale.host<float>().data());
            },
        .outputs = {written("q", to.q, to.expected_q, {}), written("row_scale", to.row_scale, to.expected_scale, {})},
        .versions = {{1,
                      "scaled to memory, then quantize_rows",
                      {256, 32, 64, 128, 512, 1024},
                      [&](int block) {
                          cuda::launch(device, "scale_columns_kernel1", scale_columns_kernel1<T>,
                                       blocks(n * channels, block), block, 0, scaled, dy, col_scale.data());
                          cuda::quantize_scaled_rows<float>(device, "quantize_rows", to.q_view(channels),
                                                            to.row_scale.data(), scaled, nullptr, 0);
                      }},
                     {2,
                      "a warp a row, scaled as it is read",
                      {256, 32, 64, 128, 512},
                      [&](int block) {
                          cuda::launch(device, "quantize_gradient_rows_kernel2", quantize_gradient_rows_kernel2<T>,
                                       blocks(to.q.rows() * kWarpSize, block), block, 0, to.q, to.row_scale.data(), dy,
                                       col_scale.data());
                      }},
                     {3,
                      "llmc: a block a row, held",
                      {},
                      [&](int) {
                          cuda::quantize_gradient_rows<T>(device, to.q_view(channels), to.row_scale.data(), dy,
                                                          col_scale.data());
                      }}},
    });
}

const Program kProgram{
    .operators = "quantize_rows, quantize_rows_outliers, rmsnorm_quantize, swiglu_quantize, quantize_gradient_rows",
    .dimensions = "tokens x channels",
    .odd = {{5, 64}, {3, 61}, {2, 1000}, {33, 1}, {1, 8301}},
    .timed = {{8192, 3072}, {8192, 8192}},
};

}  // namespace

int main(int argc, char** argv) {
    return run(argc, argv, kProgram, []<class T>(const Bench<T>& bench, const Shape& shape) {
        quantize(bench, shape);
        quantize_outliers(bench, shape);
        behind_rmsnorm(bench, shape);
        behind_swiglu(bench, shape);
        quantize_gradient(bench, shape);
    });
}
