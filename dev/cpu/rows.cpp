// Rows set to something known, or added to.
//
//   add         out[n,c] += x[n,c]
//   copy        dst[n,c] = src[n,c]
//   fill_rows   y[n,c] = bias[c]
//   set_zero    y[n,c] = 0
//   scale       out[n,c] = factor x[n,c]
//
//   kernel 1   the definition: one thread
//   kernel 2   llmc/cpu/add.h, rows.h, scale.h: rows shared out among the threads
//
//   make -C dev/cpu && build/dev/cpu/rows [version] [--shape ...]
#include "llmc/cpu/rows.h"

#include "dev/cpu/common.h"
#include "llmc/cpu/add.h"
#include "llmc/cpu/scale.h"

namespace {

using namespace llmc;
using benchmark::Device, benchmark::Tensor;

// visit(n, c) of every element.
template <class Visit>
void each_element(const Matrix<float>& m, const Visit& visit) {
    for (int64_t n = 0; n < m.rows; n++)
        for (int64_t c = 0; c < m.cols; c++) visit(n, c);
}

void add_kernel1(const Device&, Matrix<float> out, Matrix<const float> x) {
    each_element(out, [&](int64_t n, int64_t c) { out(n, c) += x(n, c); });
}
void copy_kernel1(const Device&, Matrix<float> dst, Matrix<const float> src) {
    each_element(dst, [&](int64_t n, int64_t c) { dst(n, c) = src(n, c); });
}
void fill_rows_kernel1(const Device&, Matrix<float> y, const float* bias) {
    each_element(y, [&](int64_t n, int64_t c) { y(n, c) = bias[c]; });
}
void set_zero_kernel1(const Device&, Matrix<float> y) {
    each_element(y, [&](int64_t n, int64_t c) { y(n, c) = 0; });
}
void scale_kernel1(const Device&, Matrix<float> out, Matrix<const float> x, float factor) {
    each_element(out, [&](int64_t n, int64_t c) { out(n, c) = factor * x(n, c); });
}

struct Operands {
    Tensor<float> from, to;

    explicit Operands(const benchmark::Shape& shape)
        : from(benchmark::random<float>(shape[0], shape[1], 1)), to(benchmark::random<float>(shape[0], shape[1], 2)) {}

    std::vector<benchmark::Output> outputs() const { return {benchmark::output("out", to, 0)}; }
};

struct Add : Operands {
    static constexpr const char* name = "add";
    using Kernel = decltype(&cpu::add<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", add_kernel1}, {"llmc/cpu/add.h: vectors, threads", cpu::add<float>}};
    }

    using Operands::Operands;
    void call(Kernel kernel, const Device& device) { kernel(device, to, from); }
    benchmark::Work work() const { return {benchmark::Unit::bytes, 3 * to.bytes()}; }
};

struct Copy : Operands {
    static constexpr const char* name = "copy";
    using Kernel = decltype(&cpu::copy<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", copy_kernel1}, {"llmc/cpu/rows.h: by rows, threads", cpu::copy<float>}};
    }

    using Operands::Operands;
    void call(Kernel kernel, const Device& device) { kernel(device, to, from); }
    benchmark::Work work() const { return {benchmark::Unit::bytes, 2 * to.bytes()}; }
};

struct FillRows : Operands {
    static constexpr const char* name = "fill_rows";
    using Kernel = decltype(&cpu::fill_rows<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", fill_rows_kernel1},
                {"llmc/cpu/rows.h: by rows, threads", cpu::fill_rows<float>}};
    }

    using Operands::Operands;
    void call(Kernel kernel, const Device& device) { kernel(device, to, from.data); }
    benchmark::Work work() const { return {benchmark::Unit::bytes, to.bytes()}; }
};

struct SetZero : Operands {
    static constexpr const char* name = "set_zero";
    using Kernel = decltype(&cpu::set_zero<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", set_zero_kernel1},
                {"llmc/cpu/rows.h: by rows, threads", cpu::set_zero<float>}};
    }

    using Operands::Operands;
    void call(Kernel kernel, const Device& device) { kernel(device, to); }
    benchmark::Work work() const { return {benchmark::Unit::bytes, to.bytes()}; }
};

struct Scale : Operands {
    static constexpr const char* name = "scale";
    using Kernel = decltype(&cpu::scale<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", scale_kernel1},
                {"llmc/cpu/scale.h: vectors, threads", cpu::scale<float>}};
    }

    using Operands::Operands;
    void call(Kernel kernel, const Device& device) { kernel(device, to, from, 0.22f); }
    benchmark::Work work() const { return {benchmark::Unit::bytes, 2 * to.bytes()}; }
};

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run<Add, Copy, FillRows, SetZero, Scale>(argc, argv,
                                                               {.operators = "add, copy, fill_rows, set_zero, scale",
                                                                .dimensions = "tokens x channels",
                                                                .odd = {{1, 1}, {2, 7}, {5, 33}, {17, 576}, {3, 1001}},
                                                                .timed = {{2048, 3072}}});
}
