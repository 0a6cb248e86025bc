// Rotary position embedding, in place on the q and k columns of the joint qkv buffer, and its inverse for the backward.
//
//   a[i]        <- a[i] cos[p,i] - a[i+half] sin[p,i]          half: the tables' columns
//   a[i+half]   <- a[i+half] cos[p,i] + a[i] sin[p,i]          p = table_rows[n]; backward: -sin
//
//   kernel 1   the definition: one thread
//   kernel 2   the definition by all threads, each with some of the tokens
//   kernel 3   llmc/cpu/rope.h: vectors, too
//
//   make -C dev/cpu && build/dev/cpu/rope [version] [--shape ...]     heads: those of q and of k
#include "llmc/cpu/rope.h"

#include "dev/cpu/common.h"

namespace {

using namespace llmc;
using benchmark::Device, benchmark::Tensor;

void rope_kernel1(const Device&, Matrix<float> heads, Matrix<const float> cos, Matrix<const float> sin,
                  std::span<const int32_t> table_rows, int head_dim, float direction) {
    for (int64_t n = 0; n < heads.rows; n++) {
        for (int64_t first = 0; first < heads.cols; first += head_dim) {
            for (int64_t i = 0; i < cos.cols; i++) {
                const double c = cos(table_rows[n], i), s = direction * sin(table_rows[n], i);
                const double a = heads(n, first + i), b = heads(n, first + i + cos.cols);
                heads(n, first + i) = static_cast<float>(a * c - b * s);
                heads(n, first + i + cos.cols) = static_cast<float>(b * c + a * s);
            }
        }
    }
}

void rope_kernel2(const Device& device, Matrix<float> heads, Matrix<const float> cos, Matrix<const float> sin,
                  std::span<const int32_t> table_rows, int head_dim, float direction) {
#pragma omp parallel for num_threads(device.threads)
    for (int64_t n = 0; n < heads.rows; n++)
        rope_kernel1(device, heads.rows_at(n, 1), cos, sin, table_rows.subspan(n, 1), head_dim, direction);
}

template <int kDirection>
struct Rope {
    static constexpr const char* name = kDirection > 0 ? "rope_forward" : "rope_backward";
    using Kernel = decltype(&cpu::rope_turn<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", rope_kernel1},
                {"the definition, threads", rope_kernel2},
                {"llmc/cpu/rope.h: vectors, threads", cpu::rope_turn<float>}};
    }

    int head_dim;
    Tensor<float> qkv, cos, sin;
    Matrix<float> heads;  // of qkv, without v
    std::vector<int32_t> positions;

    explicit Rope(const benchmark::Shape& shape) : Rope(shape[0], shape[1], shape[2]) {}
    Rope(int64_t tokens, int64_t n_heads, int64_t head_dim)
        : head_dim(static_cast<int>(head_dim)),
          qkv(benchmark::random<float>(tokens, (n_heads + n_heads / 2) * head_dim, 1)),
          cos(tokens, head_dim / 2),
          sin(tokens, head_dim / 2),
          heads(qkv.columns(0, n_heads * head_dim)) {
        for (int64_t p = 0; p < tokens; p++) {
            positions.push_back(static_cast<int32_t>(p));
            for (int64_t i = 0; i < cos.cols; i++) {
                const double angle = static_cast<double>(p) * std::pow(1e4, -static_cast<double>(i) / cos.cols);
                cos(p, i) = static_cast<float>(std::cos(angle));
                sin(p, i) = static_cast<float>(std::sin(angle));
            }
        }
    }

    void call(Kernel kernel, const Device& device) {
        kernel(device, heads, cos, sin, positions, head_dim, static_cast<float>(kDirection));
    }
    // Two products and a sum, an ulp each.
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("heads and v", qkv, 3e-7)}; }
    benchmark::Work work() const {
        return {benchmark::Unit::bytes,
                2.0 * sizeof(float) * static_cast<double>(heads.size()) + cos.bytes() + sin.bytes()};
    }
};

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run<Rope<1>, Rope<-1>>(argc, argv,
                                             {.operators = "rope_forward, rope_backward",
                                              .dimensions = "tokens x heads x head_dim",
                                              .odd = {{1, 1, 2}, {2, 3, 7}, {5, 2, 34}, {17, 9, 64}, {3, 4, 100}},
                                              .timed = {{2048, 64, 96}}});
}
