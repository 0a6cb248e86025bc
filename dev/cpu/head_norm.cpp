// RMSNorm of every head of the queries, or of the keys, in place, forward and backward.
//
//   kept[n,h,d] = x[n,h,d]
//   rstd[n,h]   = 1 / sqrt(mean_d x[n,h,d]^2 + eps)
//   x[n,h,d]    = x[n,h,d] rstd[n,h] weight[d]
//
// backward, with g = dx weight and y = kept rstd:
//   dx[n,h,d]   = rstd[n,h] (g[n,h,d] - y[n,h,d] mean_d(g y))
//
//   kernel 1   the definition: one thread, sums in double
//   kernel 2   the definition by all threads, each with some of the tokens
//   kernel 3   llmc/cpu/head_norm.h: vectors, too
//
//   make -C dev/cpu && build/dev/cpu/head_norm [version] [--shape ...]
#include "llmc/cpu/head_norm.h"

#include "dev/cpu/common.h"

namespace {

using namespace llmc;
using benchmark::Device, benchmark::Tensor;

constexpr float kEps = 1e-5f;

void forward_kernel1(const Device&, Matrix<float> x, Matrix<float> kept, Matrix<float> rstd, NormWeight<float> weight,
                     float eps) {
    const int64_t head_dim = x.cols / rstd.cols;
    for (int64_t n = 0; n < x.rows; n++) {
        for (int64_t h = 0; h < rstd.cols; h++) {
            double sum = 0;
            for (int64_t c = h * head_dim; c < (h + 1) * head_dim; c++) {
                kept(n, c) = x(n, c);
                sum += static_cast<double>(x(n, c)) * x(n, c);
            }
            const double scale = 1 / std::sqrt(sum / static_cast<double>(head_dim) + eps);
            rstd(n, h) = static_cast<float>(scale);
            for (int64_t d = 0; d < head_dim; d++)
                x(n, h * head_dim + d) = static_cast<float>(x(n, h * head_dim + d) * scale * weight[d]);
        }
    }
}

void forward_kernel2(const Device& device, Matrix<float> x, Matrix<float> kept, Matrix<float> rstd,
                     NormWeight<float> weight, float eps) {
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < x.rows; n++)
        forward_kernel1(device, x.rows_at(n, 1), kept.rows_at(n, 1), rstd.rows_at(n, 1), weight, eps);
}

// What both passes are measured on.
struct Heads {
    Tensor<float> x, kept, rstd, weight;

    Heads(int64_t tokens, int64_t heads, int64_t head_dim)
        : x(benchmark::random<float>(tokens, heads * head_dim, 1)),
          kept(benchmark::random<float>(tokens, heads * head_dim, 2)),
          rstd(benchmark::random<float>(tokens, heads, 3)),
          weight(benchmark::random<float>(1, head_dim, 4)) {}
};

struct Forward : Heads {
    static constexpr const char* name = "head_norm_forward";
    using Kernel = decltype(&cpu::head_norm_forward<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", forward_kernel1},
                {"the definition, threads", forward_kernel2},
                {"llmc/cpu/head_norm.h: vectors, threads", cpu::head_norm_forward<float>}};
    }
    explicit Forward(const benchmark::Shape& shape) : Heads(shape[0], shape[1], shape[2]) {}

    void call(Kernel kernel, const Device& device) { kernel(device, x, kept, rstd, {weight.data}, kEps); }
    // A float sum of up to 256 squares in vector lanes is off by some 1e-6 of itself.
    std::vector<benchmark::Output> outputs() const {
        return {benchmark::output("x", x, 2e-6), benchmark::output("kept", kept, 0),
                benchmark::output("rstd", rstd, 2e-6)};
    }
    benchmark::Work work() const { return {benchmark::Unit::bytes, 3 * x.bytes()}; }
};

void backward_kernel1(const Device&, Matrix<float> dx, Matrix<const float> kept, Matrix<const float> rstd,
                      NormWeight<float> weight) {
    const int64_t head_dim = dx.cols / rstd.cols;
    for (int64_t n = 0; n < dx.rows; n++) {
        for (int64_t h = 0; h < rstd.cols; h++) {
            const double scale = rstd(n, h);
            double mean = 0;  // of g y
            for (int64_t d = 0; d < head_dim; d++) {
                const int64_t c = h * head_dim + d;
                mean += static_cast<double>(dx(n, c)) * weight[d] * kept(n, c) * scale / static_cast<double>(head_dim);
            }
            for (int64_t d = 0; d < head_dim; d++) {
                const int64_t c = h * head_dim + d;
                const double g = static_cast<double>(dx(n, c)) * weight[d];
                dx(n, c) = static_cast<float>(scale * (g - kept(n, c) * scale * mean));
            }
        }
    }
}

void backward_kernel2(const Device& device, Matrix<float> dx, Matrix<const float> kept, Matrix<const float> rstd,
                      NormWeight<float> weight) {
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < dx.rows; n++)
        backward_kernel1(device, dx.rows_at(n, 1), kept.rows_at(n, 1), rstd.rows_at(n, 1), weight);
}

struct Backward : Heads {
    static constexpr const char* name = "head_norm_backward";
    using Kernel = decltype(&cpu::head_norm_backward<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", backward_kernel1},
                {"the definition, threads", backward_kernel2},
                {"llmc/cpu/head_norm.h: vectors, threads", cpu::head_norm_backward<float>}};
    }
    explicit Backward(const benchmark::Shape& shape) : Heads(shape[0], shape[1], shape[2]) {}

    void call(Kernel kernel, const Device& device) { kernel(device, x, kept, rstd, {weight.data}); }
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("dx", x, 2e-6)}; }
    benchmark::Work work() const { return {benchmark::Unit::bytes, 3 * x.bytes()}; }
};

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run<Forward, Backward>(argc, argv,
                                             {.operators = "head_norm_forward, head_norm_backward",
                                              .dimensions = "tokens x heads x head_dim",
                                              .odd = {{1, 1, 2}, {2, 3, 7}, {5, 2, 34}, {17, 9, 64}, {3, 4, 100}},
                                              .timed = {{2048, 16, 128}}});
}
