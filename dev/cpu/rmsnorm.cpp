// RMSNorm with the residual addition before it, forward and backward.
//
//   r[n,c]   = x[n,c] + y[n,c]
//   rstd[n]  = 1 / sqrt(mean_c r[n,c]^2 + eps)
//   out[n,c] = r[n,c] rstd[n] weight[c]
//
// backward, with g = dout weight and h = r rstd:
//   dr[n,c] += rstd[n] (g[n,c] - h[n,c] mean_c(g h))
//
//   kernel 1   the definition: one thread, sums in double
//   kernel 2   one operation after the other over the whole tensor, as an array language takes them: vectors and
//              threads, but r crosses memory once for each
//   kernel 3   llmc/cpu/rmsnorm.h: all of a row while it is in the cache
//
//   make -C dev/cpu && build/dev/cpu/rmsnorm [version] [--shape ...]
#include "llmc/cpu/rmsnorm.h"

#include "dev/cpu/common.h"

namespace {

using namespace llmc;
using benchmark::Device, benchmark::Tensor;

constexpr float kEps = 1e-5f;

void rmsnorm_forward_kernel1(const Device&, Matrix<float> out, Matrix<float> residual, float* rstd,
                             Matrix<const float> x, Matrix<const float> y, NormWeight<float> weight, float eps) {
    for (int64_t n = 0; n < x.rows; n++) {
        double sum = 0;
        for (int64_t c = 0; c < x.cols; c++) {
            residual(n, c) = x(n, c) + y(n, c);
            sum += static_cast<double>(residual(n, c)) * residual(n, c);
        }
        const double scale = 1 / std::sqrt(sum / static_cast<double>(x.cols) + eps);
        rstd[n] = static_cast<float>(scale);
        for (int64_t c = 0; c < x.cols; c++) out(n, c) = static_cast<float>(residual(n, c) * scale * weight[c]);
    }
}

void rmsnorm_forward_kernel2(const Device& device, Matrix<float> out, Matrix<float> residual, float* rstd,
                             Matrix<const float> x, Matrix<const float> y, NormWeight<float> weight, float eps) {
#pragma omp parallel for simd collapse(2) num_threads(device.threads)
    for (int64_t n = 0; n < x.rows; n++)
        for (int64_t c = 0; c < x.cols; c++) residual(n, c) = x(n, c) + y(n, c);
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < x.rows; n++) {
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < x.cols; c++) sum += residual(n, c) * residual(n, c);
        rstd[n] = 1 / std::sqrt(sum / static_cast<float>(x.cols) + eps);
    }
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < x.rows; n++)
        for (int64_t c = 0; c < x.cols; c++) out(n, c) = residual(n, c) * rstd[n];
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < x.rows; n++)
        for (int64_t c = 0; c < x.cols; c++) out(n, c) *= weight[c];
}

struct Forward {
    static constexpr const char* name = "rmsnorm_forward";
    using Kernel = decltype(&cpu::rmsnorm_forward<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", rmsnorm_forward_kernel1},
                {"one operation after the other, vectors, threads", rmsnorm_forward_kernel2},
                {"llmc/cpu/rmsnorm.h: by rows, vectors, threads", cpu::rmsnorm_forward<float>}};
    }

    Tensor<float> x, y, weight, out, residual, rstd;

    explicit Forward(const benchmark::Shape& shape) : Forward(shape[0], shape[1]) {}
    Forward(int64_t tokens, int64_t channels)
        : x(benchmark::random<float>(tokens, channels, 1)),
          y(benchmark::random<float>(tokens, channels, 2)),
          weight(benchmark::random<float>(1, channels, 3)),
          out(benchmark::unwritten<float>(tokens, channels)),
          residual(benchmark::unwritten<float>(tokens, channels)),
          rstd(benchmark::unwritten<float>(1, tokens)) {}

    void call(Kernel kernel, const Device& device) {
        kernel(device, out, residual, rstd.data, x, y, {weight.data}, kEps);
    }
    // A float sum of up to 1,000 squares in vector lanes is off by some 1e-6 of itself.
    std::vector<benchmark::Output> outputs() const {
        return {benchmark::output("out", out, 2e-6), benchmark::output("residual", residual, 0),
                benchmark::output("rstd", rstd, 2e-6)};
    }
    benchmark::Work work() const { return {benchmark::Unit::bytes, 4 * x.bytes()}; }
};

void rmsnorm_backward_kernel1(const Device&, Matrix<float> dresidual, Matrix<const float> dout,
                              Matrix<const float> residual, const float* rstd, NormWeight<float> weight) {
    for (int64_t n = 0; n < dout.rows; n++) {
        const double scale = rstd[n];
        double mean = 0;  // of g h
        for (int64_t c = 0; c < dout.cols; c++) mean += dout(n, c) * weight[c] * (residual(n, c) * scale);
        mean /= static_cast<double>(dout.cols);
        for (int64_t c = 0; c < dout.cols; c++) {
            const double g = static_cast<double>(dout(n, c)) * weight[c], h = residual(n, c) * scale;
            dresidual(n, c) += static_cast<float>(scale * (g - h * mean));
        }
    }
}

void rmsnorm_backward_kernel2(const Device& device, Matrix<float> dresidual, Matrix<const float> dout,
                              Matrix<const float> residual, const float* rstd, NormWeight<float> weight) {
    std::vector<float> mean(static_cast<size_t>(dout.rows));
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < dout.rows; n++) {
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < dout.cols; c++) sum += dout(n, c) * weight[c] * residual(n, c);
        mean[n] = sum * rstd[n] / static_cast<float>(dout.cols);
    }
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < dout.rows; n++)
        for (int64_t c = 0; c < dout.cols; c++) dresidual(n, c) += rstd[n] * dout(n, c) * weight[c];
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < dout.rows; n++)
        for (int64_t c = 0; c < dout.cols; c++) dresidual(n, c) -= rstd[n] * rstd[n] * mean[n] * residual(n, c);
}

struct Backward {
    static constexpr const char* name = "rmsnorm_backward";
    using Kernel = decltype(&cpu::rmsnorm_backward<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", rmsnorm_backward_kernel1},
                {"one operation after the other, vectors, threads", rmsnorm_backward_kernel2},
                {"llmc/cpu/rmsnorm.h: by rows, vectors, threads", cpu::rmsnorm_backward<float>}};
    }

    Tensor<float> dout, residual, weight, rstd, dresidual;

    explicit Backward(const benchmark::Shape& shape) : Backward(shape[0], shape[1]) {}
    Backward(int64_t tokens, int64_t channels)
        : dout(benchmark::random<float>(tokens, channels, 1)),
          residual(benchmark::random<float>(tokens, channels, 2)),
          weight(benchmark::random<float>(1, channels, 3)),
          rstd(benchmark::random<float>(1, tokens, 4)),
          dresidual(benchmark::random<float>(tokens, channels, 5)) {}

    void call(Kernel kernel, const Device& device) {
        kernel(device, dresidual, dout, residual, rstd.data, {weight.data});
    }
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("dresidual", dresidual, 2e-6)}; }
    benchmark::Work work() const { return {benchmark::Unit::bytes, 4 * dout.bytes()}; }
};

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run<Forward, Backward>(argc, argv,
                                             {.operators = "rmsnorm_forward, rmsnorm_backward",
                                              .dimensions = "tokens x channels",
                                              .odd = {{1, 1}, {2, 7}, {5, 33}, {17, 576}, {3, 1001}},
                                              .timed = {{2048, 3072}}});
}
