// Rows picked from a longer matrix, or put back into one: token embeddings, and the labelled positions of the head.
//
//   embedding_forward   out[n,:] = table[ids[n],:]
//   gather_rows         out[i,:] = x[rows[i],:]
//   scatter_rows        out[rows[i],:] = x[i,:], every other row of out = 0;  rows ascending and distinct
//
//   kernel 1   the definition: one thread
//   kernel 2   llmc/cpu/embedding.h, gather.h: rows shared out among the threads, each copied by the C library
//
//   make -C dev/cpu && build/dev/cpu/gather [version] [--shape ...]
#include "llmc/cpu/gather.h"

#include "dev/cpu/common.h"
#include "llmc/cpu/embedding.h"

namespace {

using namespace llmc;
using benchmark::Device, benchmark::Tensor;

void gather_rows_kernel1(const Device&, Matrix<float> out, Matrix<const float> x, std::span<const int32_t> rows) {
    for (int64_t i = 0; i < out.rows; i++)
        for (int64_t c = 0; c < out.cols; c++) out(i, c) = x(rows[i], c);
}

void scatter_rows_kernel1(const Device&, Matrix<float> out, Matrix<const float> x, std::span<const int32_t> rows) {
    for (int64_t n = 0; n < out.rows; n++)
        for (int64_t c = 0; c < out.cols; c++) out(n, c) = 0;
    for (int64_t i = 0; i < x.rows; i++)
        for (int64_t c = 0; c < out.cols; c++) out(rows[i], c) = x(i, c);
}

// Of gather_rows: `few` rows of `all`. The embedding's come in any order and may repeat.
struct Operands {
    Tensor<float> few, all;
    std::vector<int32_t> rows;

    Operands(const benchmark::Shape& shape, std::vector<int32_t> rows, bool gathers)
        : few(gathers ? benchmark::unwritten<float>(shape[0], shape[2])
                      : benchmark::random<float>(shape[0], shape[2], 1)),
          all(gathers ? benchmark::random<float>(shape[1], shape[2], 2)
                      : benchmark::unwritten<float>(shape[1], shape[2])),
          rows(std::move(rows)) {
        require(shape[0] <= shape[1], "there are only ", shape[1], " rows to pick ", shape[0], " from");
    }
};

struct Embedding : Operands {
    static constexpr const char* name = "embedding_forward";
    using Kernel = decltype(&cpu::embedding_forward<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", gather_rows_kernel1},
                {"llmc/cpu/embedding.h: copies, threads", cpu::embedding_forward<float>}};
    }

    explicit Embedding(const benchmark::Shape& shape)
        : Operands(shape, benchmark::random_indices(shape[0], shape[1], 3), true) {}

    void call(Kernel kernel, const Device& device) { kernel(device, few, all, rows); }
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("out", few, 0)}; }
    benchmark::Work work() const { return {benchmark::Unit::bytes, 2 * few.bytes()}; }
};

struct Gather : Operands {
    static constexpr const char* name = "gather_rows";
    using Kernel = decltype(&cpu::gather_rows<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", gather_rows_kernel1},
                {"llmc/cpu/gather.h: copies, threads", cpu::gather_rows<float>}};
    }

    explicit Gather(const benchmark::Shape& shape)
        : Operands(shape, benchmark::spread_indices(shape[0], shape[1]), true) {}

    void call(Kernel kernel, const Device& device) { kernel(device, few, all, rows); }
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("out", few, 0)}; }
    benchmark::Work work() const { return {benchmark::Unit::bytes, 2 * few.bytes()}; }
};

struct Scatter : Operands {
    static constexpr const char* name = "scatter_rows";
    using Kernel = decltype(&cpu::scatter_rows<float>);
    static std::vector<benchmark::Version<Kernel>> versions() {
        return {{"the definition, one thread", scatter_rows_kernel1},
                {"llmc/cpu/gather.h: copies and zeros, threads", cpu::scatter_rows<float>}};
    }

    explicit Scatter(const benchmark::Shape& shape)
        : Operands(shape, benchmark::spread_indices(shape[0], shape[1]), false) {}

    void call(Kernel kernel, const Device& device) { kernel(device, all, few, rows); }
    std::vector<benchmark::Output> outputs() const { return {benchmark::output("out", all, 0)}; }
    benchmark::Work work() const { return {benchmark::Unit::bytes, few.bytes() + all.bytes()}; }
};

}  // namespace

int main(int argc, char** argv) {
    return benchmark::run<Embedding, Gather, Scatter>(
        argc, argv,
        {.operators = "embedding_forward, gather_rows, scatter_rows",
         .dimensions = "rows x all_rows x channels",
         .odd = {{1, 1, 1}, {2, 7, 3}, {5, 33, 65}, {17, 40, 576}, {3, 3, 1001}},
         .timed = {{2048, 8192, 3072}}});
}
